//! The keys' tones through codecs that do not keep the shape of a wave: G.722, and Opus, whose low bit rates model a voice.

mod common;

use common::{good, Call};
use roomkit_media::codec::opus::Settings;
use roomkit_media::codec::CodecSpec;
use roomkit_media::dtmf::{Digit, InbandDetector, Tone};
use roomkit_media::time::{Duration, Time};

/// In the order of their rows and columns (ITU-T Q.23).
const PAD: &str = "123A456B789C*0#D";
const LOW_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH_HZ: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

fn opus(sample_rate: u32, bitrate: u32) -> CodecSpec {
    CodecSpec::opus(111, sample_rate, 1, Settings { bitrate, ..Settings::default() })
}

/// How tones depart from what a telephone should send.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// Of the stronger tone, in dBm0.
    level: f64,
    /// How much stronger the high tone is, in dB; negative for the low one.
    twist: f64,
    /// How far off the tones are, as a share: the low one above, the high one below.
    off: f64,
    /// Silence before the first, which moves all of them against the codec's frames.
    before_ms: f64,
}

/// All sixteen keys for `ms` each, as long a pause behind each, 50 ms at least.
fn press_all(line: Line, ms: f64, rate: u32) -> Vec<i16> {
    let samples = |ms: f64| (ms * f64::from(rate) / 1000.0) as usize;
    // A sine of full scale has 3.17 dBm0 (ITU-T G.711, µ-law).
    let amplitude = |dbm0: f64| 32_767.0 * 10_f64.powf((dbm0 - 3.17) / 20.0);
    let low_peak = amplitude(line.level - line.twist.max(0.0));
    let high_peak = amplitude(line.level + line.twist.min(0.0));
    let mut pcm = vec![0; samples(100.0 + line.before_ms)];
    for key in 0..16 {
        let low = LOW_HZ[key / 4] * (1.0 + line.off);
        let high = HIGH_HZ[key % 4] * (1.0 - line.off);
        pcm.extend((0..samples(ms)).map(|n| {
            let t = core::f64::consts::TAU * n as f64 / f64::from(rate);
            let sum = low_peak * (t * low).sin() + high_peak * (t * high + 1.0).sin();
            sum.round().clamp(-32_768.0, 32_767.0) as i16
        }));
        pcm.resize(pcm.len() + samples(ms.max(50.0)), 0);
    }
    pcm.resize(pcm.len() + samples(200.0), 0);
    pcm
}

/// What is left of audio after it was encoded and decoded, in packets of 20 ms.
fn coded(spec: CodecSpec, pcm: &[i16]) -> Vec<i16> {
    let (mut encoder, mut decoder) = (spec.encoder(), spec.decoder());
    let mut out = Vec::with_capacity(pcm.len());
    for frame in pcm.chunks_exact(spec.sample_rate as usize / 50) {
        let mut payload = Vec::new();
        encoder.encode(frame, &mut payload);
        decoder.decode(&payload, &mut out).expect("a packet of our own");
    }
    out
}

fn heard(pcm: &[i16], rate: u32) -> String {
    let mut detector = InbandDetector::new(rate, 1).unwrap();
    detector.process(pcm);
    core::iter::from_fn(|| detector.poll()).map(|digit| digit.digit.as_char()).collect()
}

/// Every key once, from −3 to −24 dBm0, pure and not, however they lie in the codec's frames.
fn hears_all(spec: CodecSpec, ms: f64) {
    for (n, level) in [-3.0, -6.0, -10.0, -15.0, -20.0, -24.0].into_iter().enumerate() {
        for (m, (twist, off)) in [(0.0, 0.0), (4.0, 0.01), (-4.0, 0.015)].into_iter().enumerate() {
            let line = Line { level, twist, off, before_ms: [0.0, 5.0, 9.0, 14.0][(n + m) % 4] };
            let pressed = press_all(line, ms, spec.sample_rate);
            let found = heard(&coded(spec, &pressed), spec.sample_rate);
            assert_eq!(found, PAD, "{spec:?}, {ms} ms, {line:?}");
        }
    }
}

#[test]
fn through_g722_every_key_of_40_ms_is_heard_once() {
    for ms in [40.0, 80.0] {
        hears_all(CodecSpec::G722, ms);
    }
}

#[test]
fn through_opus_as_we_send_it_every_key_of_40_ms_is_heard_once_at_every_rate() {
    for rate in [8000, 16_000, 24_000, 48_000] {
        for ms in [40.0, 100.0] {
            hears_all(opus(rate, Settings::default().bitrate), ms);
        }
    }
}

#[test]
fn through_opus_of_12_to_24_kbits_every_key_of_60_ms_is_heard_once_at_every_rate() {
    for rate in [8000, 16_000, 24_000, 48_000] {
        for bitrate in [12_000, 16_000, 24_000] {
            hears_all(opus(rate, bitrate), 60.0);
        }
    }
    // Long enough for the model of a voice to lose its way, which bends them.
    for rate in [16_000, 48_000] {
        for bitrate in [12_000, 24_000] {
            hears_all(opus(rate, bitrate), 100.0);
        }
    }
}

/// SILK at its lowest rates has a predictor of a voice and few pulses for the rest: short tones are not in the packets.
#[test]
fn through_opus_of_8_kbits_every_key_of_160_ms_is_heard_once_at_every_rate() {
    for rate in [8000, 16_000, 24_000, 48_000] {
        hears_all(opus(rate, 8000), 160.0);
    }
}

#[test]
fn a_session_hears_them_whatever_the_rate_of_its_frames() {
    for spec in [CodecSpec::G722, opus(48_000, 40_000), opus(16_000, 16_000), opus(8000, 12_000)] {
        for rate in [8000, 16_000, 24_000, 44_100, 48_000] {
            let mut call = Call::new(good(), 1, |config| {
                config.dtmf_inband = true;
                config.sample_rate = rate;
                config.send_codec = spec;
                config.receive_codecs = vec![spec];
            });
            let mut pcm = vec![0; rate as usize / 10];
            for key in PAD.chars() {
                let mut piece = vec![0; rate as usize * 14 / 100];
                let key = Digit::parse(key).unwrap();
                Tone::new(key, Duration::from_millis(80), rate).fill(&mut piece, 1);
                pcm.extend(piece);
            }
            call.a.play(1, pcm, rate);
            call.run(Time::secs(4));
            assert_eq!(call.b.digits(), PAD, "{spec:?} at {rate} Hz");
        }
    }
}
