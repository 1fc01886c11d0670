//! Sample rate conversion by a fixed ratio: a polyphase FIR filter that delays by about one millisecond.
//!
//! A live call cannot wait for a long filter, so this one trades steepness for delay. The impulse response is a
//! Kaiser-windowed sinc that lasts 2.25 ms at every ratio; its edge is therefore as wide in Hz at every ratio, about
//! 1.2 kHz around the Nyquist frequency of the lower rate. As measured (`cargo test --release -p roomkit-media
//! --test resample_quality -- --nocapture` prints all of it):
//!
//! | | worst of all 56 pairs of 8, 11.025, 16, 22.05, 24, 32, 44.1, 48 kHz |
//! |---|---|
//! | pass band, to 600 Hz below the lower Nyquist frequency (3.4 kHz at 8 kHz) | flat within 0.45 dB |
//! | stop band, from 600 Hz above it (4.6 kHz at 8 kHz) | 50.2 dB down; 52 dB where the rate falls |
//! | images and aliases of a tone in the pass band | 50.2 dB down; 64 dB where the rate falls |
//! | delay, the same at all frequencies | 1.125 ms; 1.18 ms from 11.025 kHz |
//!
//! So what folds back into the telephone band (300 to 3400 Hz) is 50 dB down or more; between 3.4 and 4 kHz a weaker
//! alias of what lay just above 4 kHz remains, where no telephone channel carries speech. A filter that also stops
//! at 4 kHz would need twice the delay.
//!
//! Time is counted in whole numbers: after `n` input frames exactly ⌈n · to / from⌉ output frames exist, for ever. A
//! 20 ms chunk in is a 20 ms chunk out whenever the rates divide evenly.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

/// Half the length of the impulse response, which is the delay: 1.125 ms, nine samples at 8 kHz. At 1 ms the same edge
/// has only 48 dB of stop band.
const HALF_US: u64 = 1125;
/// The window's shape: more would widen the edge, less would raise the stop band above −50 dB.
const KAISER_BETA: f64 = 4.95;
/// The cut-off lies this far below the lower Nyquist frequency: centres the 1.2 kHz edge so that the stop band begins
/// 600 Hz above Nyquist, whose alias is 3.4 kHz when the lower rate is 8 kHz, and costs 0.45 dB there.
const CUTOFF_BELOW_NYQUIST: f64 = 105.0;
/// A recording can wait: its filter reaches over so many crossings of zero to each side at the lower of the two rates, so that
/// its edge is an eighth of the band wide, with 70 dB beyond it.
const SHARP_CROSSINGS: f64 = 16.0;
const SHARP_BETA: f64 = 7.0;
/// Its cut-off, of the lower Nyquist frequency.
const SHARP_CUTOFF: f64 = 0.93;
/// Ratios with more phases than this interpolate between as many stored ones. All pairs of common audio rates have
/// fewer (8 or 48 kHz to 44.1 kHz: 441 and 147).
const MAX_PHASES: u32 = 640;
/// The dot product is added up in this many sums at once, which the compiler turns into vector instructions; rows of
/// coefficients are padded with zeros to a multiple of it.
const LANES: usize = 8;
/// Input frames worked on at a time; bounds the buffer whatever the chunk's length.
const BLOCK: usize = 256;

/// Rates this file converts between, in Hz: the misuse of others is refused.
const RATES: core::ops::RangeInclusive<u32> = 8000..=192_000;

/// The coefficients for one ratio. They depend on nothing else, so sessions share them in an [`Arc`].
#[derive(Clone)]
pub struct Bank {
    from_hz: u32,
    to_hz: u32,
    /// The ratio in lowest terms: `up` outputs for `down` inputs.
    up: u32,
    down: u32,
    /// Delay in input frames; the impulse response is twice as long.
    half: usize,
    /// Coefficients per row, `2 · half` rounded up to whole `LANES`.
    stride: usize,
    /// Rows stored, not counting a last one that is the first one a sample later, for interpolation to end on.
    phases: u32,
    rows: Vec<f32>,
}

/// A rate or channel count that cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadConversion {
    /// A rate outside 8000 to 192 000 Hz.
    Rate(u32),
    /// No channels.
    Channels,
}

/// Converts one stream; keeps its state over chunks of any size.
///
/// ```
/// use roomkit_media::resample::Resampler;
/// let mut wide = Resampler::new(8_000, 16_000, 1)?;
/// let mut out = Vec::new();
/// wide.process(&[0; 160], &mut out); // 20 ms in,
/// assert_eq!(out.len(), 320); //        20 ms out, 1.1 ms late
/// wide.drain(&mut out); //              and the tail when the stream ends
/// assert_eq!(out.len(), 320 + 18);
/// # Ok::<(), roomkit_media::resample::BadConversion>(())
/// ```
#[derive(Clone, Debug)]
pub struct Resampler {
    bank: Arc<Bank>,
    channels: usize,
    /// Per channel, one after the other: the last inputs, and room for a block. Each `capacity` long.
    history: Vec<f32>,
    capacity: usize,
    /// The next output's place between two inputs, in `0..up` of the distance from one to the other.
    phase: u32,
    /// Input frames to skip before the next output: it is placed on the last input after them.
    ahead: usize,
    /// The same at the beginning: half the filter, where the delay is taken out.
    lead: usize,
}

impl Bank {
    /// Computes the coefficients: some tens of thousands of sines at most, so do it once per ratio and share it.
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Bank, BadConversion> {
        let half = (u64::from(from_hz) * HALF_US).div_ceil(1_000_000) as usize;
        let cutoff = f64::from(from_hz.min(to_hz)) / 2.0 - CUTOFF_BELOW_NYQUIST;
        Bank::shaped(from_hz, to_hz, half, cutoff, KAISER_BETA)
    }

    /// For a recording: an edge an eighth of the band wide with 70 dB beyond it, and a filter that is too long for a call.
    pub fn sharp(from_hz: u32, to_hz: u32) -> Result<Bank, BadConversion> {
        let lower = f64::from(from_hz.min(to_hz));
        let half = (SHARP_CROSSINGS * f64::from(from_hz) / lower.max(1.0)).ceil() as usize;
        Bank::shaped(from_hz, to_hz, half, SHARP_CUTOFF * lower / 2.0, SHARP_BETA)
    }

    /// `cutoff` in Hz.
    fn shaped(
        from_hz: u32,
        to_hz: u32,
        half: usize,
        cutoff: f64,
        beta: f64,
    ) -> Result<Bank, BadConversion> {
        for rate in [from_hz, to_hz] {
            if !RATES.contains(&rate) {
                return Err(BadConversion::Rate(rate));
            }
        }
        let common = gcd(from_hz, to_hz);
        let (up, down) = (to_hz / common, from_hz / common);
        let stride = (2 * half).next_multiple_of(LANES);
        let phases = up.min(MAX_PHASES);
        let mut rows = Vec::new();
        if from_hz != to_hz {
            let cycles_per_input = cutoff / f64::from(from_hz);
            rows.reserve_exact((phases as usize + 1) * stride);
            for phase in 0..=phases {
                let fraction = f64::from(phase) / f64::from(phases);
                push_row(&mut rows, half, stride, cycles_per_input, beta, fraction);
            }
        }
        Ok(Bank { from_hz, to_hz, up, down, half, stride, phases, rows })
    }

    /// The rates it converts from and to, in Hz.
    pub fn rates(&self) -> (u32, u32) {
        (self.from_hz, self.to_hz)
    }

    /// How many coefficients it holds, of 4 bytes.
    pub fn coefficients(&self) -> usize {
        self.rows.len()
    }

    fn row(&self, index: u32) -> &[f32] {
        let start = index as usize * self.stride;
        &self.rows[start..start + self.stride]
    }
}

impl Resampler {
    /// A resampler with a bank of its own. `channels` are interleaved, in and out.
    pub fn new(from_hz: u32, to_hz: u32, channels: u8) -> Result<Resampler, BadConversion> {
        Resampler::with_bank(Arc::new(Bank::new(from_hz, to_hz)?), channels)
    }

    /// A resampler on shared coefficients.
    pub fn with_bank(bank: Arc<Bank>, channels: u8) -> Result<Resampler, BadConversion> {
        if channels == 0 {
            return Err(BadConversion::Channels);
        }
        let channels = usize::from(channels);
        let capacity = if bank.rows.is_empty() { 0 } else { bank.stride + BLOCK };
        let history = vec![0.0; channels * capacity];
        Ok(Resampler { bank, channels, history, capacity, phase: 0, ahead: 0, lead: 0 })
    }

    /// The same without its delay, for what is no call: the output waits for half a filter of input, and its first sample
    /// belongs where the first input does. After [`drain`](Self::drain) there are exactly ⌈n · to / from⌉ of them.
    pub fn in_place(mut self) -> Resampler {
        if !self.is_identity() {
            self.lead = self.bank.half;
            self.reset();
        }
        self
    }

    /// Converts a chunk of any length and appends the result. Samples after the last whole frame of all channels are
    /// left out.
    pub fn process(&mut self, pcm: &[i16], out: &mut Vec<i16>) {
        let whole = &pcm[..pcm.len() - pcm.len() % self.channels];
        if self.is_identity() {
            out.extend_from_slice(whole);
            return;
        }
        for block in whole.chunks(BLOCK * self.channels) {
            self.load(block);
            self.produce(block.len() / self.channels, out);
        }
    }

    /// How late a sound comes out: about 1.1 ms, or nothing where the rates are equal.
    pub fn delay(&self) -> Duration {
        if self.is_identity() || self.lead > 0 {
            return Duration::ZERO;
        }
        Duration::from_secs(self.bank.half as u64) / self.bank.from_hz
    }

    /// Ends the stream: appends what is still inside, half a filter long, and starts afresh.
    pub fn drain(&mut self, out: &mut Vec<i16>) {
        if self.is_identity() {
            return;
        }
        let mut silence = self.bank.half;
        while silence > 0 {
            let frames = silence.min(BLOCK);
            for history in self.history.chunks_exact_mut(self.capacity) {
                history[self.bank.stride..][..frames].fill(0.0);
            }
            self.produce(frames, out);
            silence -= frames;
        }
        self.reset();
    }

    /// Forgets the past, as for a new stream.
    pub fn reset(&mut self) {
        self.history.fill(0.0);
        (self.phase, self.ahead) = (0, self.lead);
    }

    fn is_identity(&self) -> bool {
        self.capacity == 0
    }

    /// Puts a block behind the last `stride` inputs of every channel.
    fn load(&mut self, block: &[i16]) {
        for (c, history) in self.history.chunks_exact_mut(self.capacity).enumerate() {
            let fresh = &mut history[self.bank.stride..];
            for (slot, frame) in fresh.iter_mut().zip(block.chunks_exact(self.channels)) {
                *slot = f32::from(frame[c]);
            }
        }
    }

    /// Makes every output that the `frames` loaded inputs complete, then keeps the newest `stride` inputs.
    fn produce(&mut self, frames: usize, out: &mut Vec<i16>) {
        let Bank { up, down, stride, .. } = *self.bank;
        let (step, step_phase) = ((down / up) as usize, down % up);
        while self.ahead < frames {
            for history in self.history.chunks_exact(self.capacity) {
                // The newest of the `stride` inputs is `ahead`, which lies at `stride + ahead`.
                let inputs = &history[self.ahead + 1..][..stride];
                out.push(to_pcm(self.bank.filter(inputs, self.phase)));
            }
            self.ahead += step;
            self.phase += step_phase;
            if self.phase >= up {
                self.phase -= up;
                self.ahead += 1;
            }
        }
        self.ahead -= frames;
        for history in self.history.chunks_exact_mut(self.capacity) {
            history.copy_within(frames..frames + stride, 0);
        }
    }
}

impl Bank {
    /// One output from the `stride` newest inputs, `phase / up` of a sample later than on the grid of inputs.
    fn filter(&self, inputs: &[f32], phase: u32) -> f32 {
        if self.phases == self.up {
            return dot(inputs, self.row(phase));
        }
        let place = u64::from(phase) * u64::from(self.phases);
        let (index, rest) = ((place / u64::from(self.up)) as u32, place % u64::from(self.up));
        let (low, high) = (dot(inputs, self.row(index)), dot(inputs, self.row(index + 1)));
        low + (high - low) * (rest as f32 / self.up as f32)
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

/// Rounds to the nearest sample and saturates. The shift makes the value positive, so that the cast rounds down.
fn to_pcm(value: f32) -> i16 {
    let shifted = value.clamp(-32_768.0, 32_767.0) + 32_768.5;
    (shifted as i32 - 32_768) as i16
}

/// Appends the coefficients for an output that lies `fraction` of a sample after the grid, oldest input first.
///
/// Every row is scaled to a sum of one: a constant stays that constant, without a tone at the phase rate.
fn push_row(
    rows: &mut Vec<f32>,
    half: usize,
    stride: usize,
    cutoff: f64,
    beta: f64,
    fraction: f64,
) {
    let start = rows.len();
    // The newest input is `half` samples after the output's centre when `fraction` is 0, and gets nearer with it.
    let taps = (0..stride).map(|i| {
        let age = (stride - 1 - i) as f64 + fraction;
        windowed_sinc(age - half as f64, half as f64, cutoff, beta)
    });
    let taps: Vec<f64> = taps.collect();
    let sum: f64 = taps.iter().sum();
    rows.extend(taps.iter().map(|t| (t / sum) as f32));
    debug_assert_eq!(rows.len() - start, stride);
}

/// The impulse response at `x` input samples from its centre; `cutoff` in cycles per input sample.
fn windowed_sinc(x: f64, half: f64, cutoff: f64, beta: f64) -> f64 {
    let inside = 1.0 - (x / half) * (x / half);
    if inside <= 0.0 {
        return 0.0;
    }
    let arg = 2.0 * core::f64::consts::PI * cutoff * x;
    let sinc = if arg.abs() < 1e-9 { 1.0 } else { arg.sin() / arg };
    sinc * bessel_i0(beta * inside.sqrt())
}

/// The modified Bessel function of order zero, by its power series; 25 terms are exact for arguments below 10.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..25 {
        term *= quarter / f64::from(k * k);
        sum += term;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        gcd(b, a % b)
    }
}

impl fmt::Debug for Bank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Bank({} Hz to {} Hz, {} coefficients)",
            self.from_hz,
            self.to_hz,
            self.rows.len()
        )
    }
}

impl fmt::Display for BadConversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadConversion::Rate(rate) => {
                write!(f, "sample rate is {rate} Hz, expected 8000 to 192000")
            }
            BadConversion::Channels => write!(f, "channels is 0, expected 1 or more"),
        }
    }
}

impl std::error::Error for BadConversion {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn convert(from: u32, to: u32, channels: u8, pcm: &[i16]) -> Vec<i16> {
        let mut out = vec![];
        let mut resampler = Resampler::new(from, to, channels).unwrap();
        resampler.process(pcm, &mut out);
        resampler.drain(&mut out);
        out
    }

    #[test]
    fn equal_rates_cost_nothing_and_change_nothing() {
        let pcm: Vec<i16> = (0..500).collect();
        let mut same = Resampler::new(44_100, 44_100, 2).unwrap();
        assert_eq!((same.delay(), same.history.len()), (Duration::ZERO, 0));
        let mut out = vec![];
        same.process(&pcm, &mut out);
        same.drain(&mut out);
        assert_eq!(out, pcm);
    }

    #[test]
    fn an_impulse_comes_out_symmetric_around_the_stated_delay() {
        for (from, to) in [(8000, 16_000), (8000, 48_000), (16_000, 48_000)] {
            let mut pcm = vec![0; 4];
            pcm.push(30_000);
            pcm.extend([0; 200]);
            let out = convert(from, to, 1, &pcm);
            let delay = Resampler::new(from, to, 1).unwrap().delay();
            let centre =
                (4 * to / from) as usize + (delay.as_secs_f64() * f64::from(to)).round() as usize;
            let peak = (0..out.len()).max_by_key(|&i| out[i]).unwrap();
            assert_eq!(peak, centre, "{from} to {to}");
            for i in 1..20 {
                let (before, after) = (out[centre - i], out[centre + i]);
                assert!((before - after).abs() <= 1, "{from} to {to}: {before} {after}");
            }
        }
    }

    #[test]
    fn in_place_a_ramp_is_that_ramp_and_has_the_samples_that_its_time_has() {
        for (from, to) in
            [(8000, 16_000), (192_000, 8000), (44_100, 8000), (11_025, 48_000), (8000, 8000)]
        {
            for length in [0usize, 1, 2, 700, 3001] {
                let pcm: Vec<i16> = (0..length).map(|n| n as i16 * 10 - 15_000).collect();
                let bank = Arc::new(Bank::sharp(from, to).unwrap());
                for piece in [1, 163, 5000] {
                    let mut resampler =
                        Resampler::with_bank(Arc::clone(&bank), 1).unwrap().in_place();
                    let mut out = vec![];
                    pcm.chunks(piece).for_each(|chunk| resampler.process(chunk, &mut out));
                    resampler.drain(&mut out);
                    let count = (length * to as usize).div_ceil(from as usize);
                    assert_eq!(out.len(), count, "{length} from {from} to {to}");
                    let inside = (count / 3)..(2 * count / 3);
                    for n in inside.filter(|_| length > 3000) {
                        let exact = n as f64 * f64::from(from) / f64::from(to) * 10.0 - 15_000.0;
                        assert!((f64::from(out[n]) - exact).abs() <= 1.0, "{from} to {to}: {n}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_constant_stays_that_constant_to_the_sample_at_every_ratio() {
        for (from, to) in
            [(8000, 44_100), (44_100, 8000), (48_000, 8000), (8000, 8001), (11_025, 16_000)]
        {
            let mut out = vec![];
            Resampler::new(from, to, 1).unwrap().process(&vec![-12_345; from as usize], &mut out);
            let settled = &out[to as usize / 100..];
            assert!(settled.iter().all(|&s| s == -12_345), "{from} to {to}");
        }
    }

    #[test]
    fn full_scale_saturates_instead_of_wrapping() {
        let square: Vec<i16> =
            (0..800).map(|i| if i / 20 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let out = convert(8000, 48_000, 1, &square);
        // A wrapped overshoot would jump by almost the whole range between neighbours.
        assert!(out.windows(2).all(|w| (i32::from(w[0]) - i32::from(w[1])).abs() < 30_000));
        assert!(out.contains(&i16::MAX) && out.contains(&i16::MIN));
    }

    #[test]
    fn an_hour_of_odd_chunks_does_not_drift_by_one_sample() {
        let bank = Arc::new(Bank::new(44_100, 8000).unwrap());
        let mut resampler = Resampler::with_bank(bank, 1).unwrap();
        let (mut fed, mut got, mut out) = (0u64, 0u64, vec![]);
        let chunk = vec![100; 44_101];
        for _ in 0..60 {
            resampler.process(&chunk, &mut out);
            fed += chunk.len() as u64;
            got += out.len() as u64;
            out.clear();
            assert_eq!(got, (fed * 8000).div_ceil(44_100));
        }
    }

    #[test]
    fn rates_and_channels_that_cannot_be_are_named() {
        assert_eq!(Bank::new(7999, 8000).unwrap_err(), BadConversion::Rate(7999));
        assert_eq!(Bank::new(8000, 192_001).unwrap_err(), BadConversion::Rate(192_001));
        assert_eq!(Resampler::new(8000, 16_000, 0).unwrap_err(), BadConversion::Channels);
    }

    #[test]
    fn coefficients_are_bounded_whatever_the_ratio() {
        for (from, to) in [(191_999, 192_000), (192_000, 191_999), (8000, 8001), (44_100, 48_000)] {
            let bank = Bank::new(from, to).unwrap();
            assert!(bank.rows.len() * 4 <= 1_200_000, "{bank:?}");
        }
        assert!(Bank::new(44_100, 8000).unwrap().rows.len() * 4 <= 40_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn chunking_changes_nothing_and_the_count_is_exact(
            from in 8000u32..=192_000, to in 8000u32..=192_000, channels in 1u8..=2,
            cuts in proptest::collection::vec(0usize..700, 1..8), seed in any::<u64>()
        ) {
            let mut rng = crate::rng::Rng::new(seed);
            let ch = usize::from(channels);
            let frames: usize = cuts.iter().sum();
            let pcm: Vec<i16> = (0..frames * ch).map(|_| rng.next_u16() as i16).collect();
            let bank = Arc::new(Bank::new(from, to).unwrap());
            let mut whole = vec![];
            Resampler::with_bank(bank.clone(), channels).unwrap().process(&pcm, &mut whole);
            prop_assert_eq!(whole.len() as u64, (frames as u64 * u64::from(to)).div_ceil(u64::from(from)) * ch as u64);

            let mut pieces = vec![];
            let mut resampler = Resampler::with_bank(bank.clone(), channels).unwrap();
            let mut rest = &pcm[..];
            for cut in cuts {
                let (head, tail) = rest.split_at(cut * ch);
                resampler.process(head, &mut pieces);
                rest = tail;
            }
            prop_assert_eq!(&pieces, &whole);

            let with_tail = frames as u64 + bank.half as u64;
            resampler.drain(&mut pieces);
            prop_assert_eq!(
                pieces.len() as u64,
                (with_tail * u64::from(to)).div_ceil(u64::from(from)) * ch as u64
            );
            // After a drain it is as new.
            let mut second = vec![];
            resampler.process(&pcm, &mut second);
            prop_assert_eq!(second, whole);
        }

        #[test]
        fn stereo_is_two_monos(left in proptest::collection::vec(any::<i16>(), 0..600)) {
            let right: Vec<i16> = left.iter().map(|s| s.wrapping_mul(7)).collect();
            let both: Vec<i16> = left.iter().zip(&right).flat_map(|(&l, &r)| [l, r]).collect();
            let out = convert(44_100, 16_000, 2, &both);
            let side = |n| out.iter().skip(n).step_by(2).copied().collect::<Vec<_>>();
            prop_assert_eq!(side(0), convert(44_100, 16_000, 1, &left));
            prop_assert_eq!(side(1), convert(44_100, 16_000, 1, &right));
        }
    }
}
