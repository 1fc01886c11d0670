use proptest::prelude::*;

use super::*;
use crate::codec::CodecSpec;
use crate::dtmf::tones::frequencies;
use crate::rng::Rng;

const KEYS: &str = "0123456789*#ABCD";

/// Tones as a telephone may send them.
#[derive(Clone, Copy, Debug)]
struct Press {
    key: char,
    ms: f64,
    /// Of the stronger tone, in dBm0.
    level: f64,
    /// How much stronger the high tone is, in dB; negative for the low one.
    twist: f64,
    /// How far off the tones are, as shares.
    off: [f64; 2],
    phase: [f64; 2],
}

impl Press {
    fn plain(key: char, ms: f64) -> Press {
        Press { key, ms, level: -10.0, twist: 0.0, off: [0.0; 2], phase: [0.0; 2] }
    }

    fn write(&self, rate: u32, out: &mut Vec<f64>) {
        let (low, high) = frequencies(Digit::parse(self.key).unwrap());
        let low_level = self.level - self.twist.max(0.0);
        let high_level = self.level + self.twist.min(0.0);
        for n in 0..(self.ms * f64::from(rate) / 1000.0).round() as usize {
            let t = core::f64::consts::TAU * n as f64 / f64::from(rate);
            out.push(
                amplitude(low_level) * (t * low * (1.0 + self.off[0]) + self.phase[0]).sin()
                    + amplitude(high_level)
                        * (t * high * (1.0 + self.off[1]) + self.phase[1]).sin(),
            );
        }
    }
}

fn silence(ms: f64, rate: u32, out: &mut Vec<f64>) {
    out.resize(out.len() + (ms * f64::from(rate) / 1000.0).round() as usize, 0.0);
}

fn pcm(audio: &[f64]) -> Vec<i16> {
    audio.iter().map(|x| x.round().clamp(-32_768.0, 32_767.0) as i16).collect()
}

fn detect(pcm: &[i16], rate: u32) -> Vec<HeardDigit> {
    let mut detector = InbandDetector::new(rate, 1).unwrap();
    let mut heard = Vec::new();
    for frame in pcm.chunks(rate as usize / 50) {
        detector.process(frame);
        heard.extend(core::iter::from_fn(|| detector.poll()));
    }
    heard
}

fn keys(heard: &[HeardDigit]) -> String {
    heard.iter().map(|h| h.digit.as_char()).collect()
}

/// What is heard of presses with pauses between them, with white noise at `noise` dBm0 and through a codec if there is one.
fn play(
    presses: &[Press],
    pause: f64,
    noise: Option<f64>,
    codec: Option<CodecSpec>,
    rng: &mut Rng,
) -> String {
    let mut audio = Vec::new();
    // However the windows lie.
    silence(50.0 + unit(rng) * 10.0, 8000, &mut audio);
    for press in presses {
        press.write(8000, &mut audio);
        silence(pause, 8000, &mut audio);
    }
    silence(100.0, 8000, &mut audio);
    if let Some(dbm0) = noise {
        let rms = amplitude(dbm0) / 2_f64.sqrt();
        for x in &mut audio {
            *x += rms * gauss(rng);
        }
    }
    let mut samples = pcm(&audio);
    if let Some(spec) = codec {
        let mut bytes = Vec::new();
        spec.encoder().encode(&samples, &mut bytes);
        samples.clear();
        spec.decoder().decode(&bytes, &mut samples).unwrap();
    }
    keys(&detect(&samples, 8000))
}

fn unit(rng: &mut Rng) -> f64 {
    f64::from(rng.next_u32()) / f64::from(u32::MAX)
}

fn gauss(rng: &mut Rng) -> f64 {
    (0..12).map(|_| unit(rng)).sum::<f64>() - 6.0
}

/// A press with everything about it within the bounds, most often at one of them.
fn hard(key: char, ms: f64, level: f64, rng: &mut Rng) -> Press {
    let mut edge = |most: f64| {
        [most, -most, 0.0, most * (2.0 * unit(rng) - 1.0)][(unit(rng) * 3.999) as usize]
    };
    let off = [edge(0.015), edge(0.015)];
    let twist = edge(8.0);
    let phase = [unit(rng) * core::f64::consts::TAU, unit(rng) * core::f64::consts::TAU];
    Press { key, ms, level, twist, off, phase }
}

#[test]
fn q24_every_digit_from_3_to_30_dbm0_off_by_1_5_percent_with_8_db_of_twist_either_way() {
    let mut rng = Rng::new(1);
    for codec in [None, Some(CodecSpec::PCMU), Some(CodecSpec::PCMA)] {
        for level in [-3.0, -6.0, -10.0, -15.0, -20.0, -25.0, -30.0] {
            for twist in [-8.0, 0.0, 8.0] {
                for off in [[0.015, 0.015], [0.015, -0.015], [-0.015, 0.015], [-0.015, -0.015]] {
                    let presses: Vec<Press> = KEYS
                        .chars()
                        .map(|key| Press {
                            level,
                            twist,
                            off,
                            phase: [unit(&mut rng) * core::f64::consts::TAU, 1.0],
                            ..Press::plain(key, 40.0)
                        })
                        .collect();
                    let heard = play(&presses, 40.0, None, codec, &mut rng);
                    assert_eq!(heard, KEYS, "{level} dBm0, {twist} dB, {off:?}, {codec:?}");
                }
            }
        }
    }
}

#[test]
fn q24_2_3_digits_of_40_ms_with_pauses_of_40_ms_however_the_windows_lie() {
    let mut rng = Rng::new(2);
    for run in 0..200 {
        let level = -3.0 - 27.0 * unit(&mut rng);
        let presses: Vec<Press> =
            "1159D*#8880A".chars().map(|key| hard(key, 40.0, level, &mut rng)).collect();
        assert_eq!(
            play(&presses, 40.0, None, Some(CodecSpec::PCMA), &mut rng),
            "1159D*#8880A",
            "run {run}"
        );
    }
}

#[test]
fn with_noise_15_db_below_the_tones_every_digit_is_heard_once() {
    let mut rng = Rng::new(3);
    for run in 0..200 {
        let level = -3.0 - 27.0 * unit(&mut rng);
        // 15 dB below the stronger tone, whatever the other has.
        let presses: Vec<Press> =
            KEYS.chars().map(|key| hard(key, 50.0, level, &mut rng)).collect();
        let heard = play(&presses, 50.0, Some(level - 15.0), Some(CodecSpec::PCMU), &mut rng);
        assert_eq!(heard, KEYS, "run {run}: {presses:?}");
    }
}

#[test]
fn with_a_dial_tone_15_db_below_the_tones_every_digit_is_heard_once() {
    let mut rng = Rng::new(4);
    for _ in 0..20 {
        let mut audio = Vec::new();
        for key in KEYS.chars() {
            hard(key, 50.0, -10.0, &mut rng).write(8000, &mut audio);
            silence(50.0, 8000, &mut audio);
        }
        for (n, x) in audio.iter_mut().enumerate() {
            let t = core::f64::consts::TAU * n as f64 / 8000.0;
            *x += amplitude(-25.0) * ((350.0 * t).sin() + (440.0 * t).sin()) / 2_f64.sqrt();
        }
        assert_eq!(keys(&detect(&pcm(&audio), 8000)), KEYS);
    }
}

#[test]
fn q24_2_3_tones_shorter_than_23_ms_are_no_digit() {
    let mut rng = Rng::new(5);
    for run in 0..500 {
        let key = KEYS.as_bytes()[run % 16] as char;
        let ms = 5.0 + 17.9 * unit(&mut rng);
        assert_eq!(
            play(&[hard(key, ms, -10.0, &mut rng)], 100.0, None, None, &mut rng),
            "",
            "{ms} ms"
        );
    }
}

#[test]
fn q24_tones_3_5_percent_off_are_no_digit() {
    let mut rng = Rng::new(6);
    for key in KEYS.chars() {
        for off in [[0.035, 0.0], [-0.035, 0.0], [0.0, 0.035], [0.0, -0.035], [0.04, -0.04]] {
            let press = Press { off, ..Press::plain(key, 100.0) };
            assert_eq!(
                play(&[press], 100.0, None, Some(CodecSpec::PCMU), &mut rng),
                "",
                "{key} {off:?}"
            );
        }
    }
}

#[test]
fn q24_an_interruption_of_10_ms_or_a_lost_packet_does_not_make_two_digits_of_one() {
    let mut rng = Rng::new(7);
    for run in 0..200 {
        let first = 40.0 + 10.0 * unit(&mut rng);
        let mut audio = Vec::new();
        Press::plain('6', first).write(8000, &mut audio);
        silence([10.0, 20.0][run % 2], 8000, &mut audio);
        Press::plain('6', 40.0).write(8000, &mut audio);
        silence(100.0, 8000, &mut audio);
        assert_eq!(keys(&detect(&pcm(&audio), 8000)), "6", "run {run}, {first} ms");
    }
}

#[test]
fn tones_too_soft_or_too_unequal_are_no_digit() {
    let mut rng = Rng::new(8);
    for key in KEYS.chars() {
        let soft = Press { level: -37.0, ..Press::plain(key, 100.0) };
        let unequal = Press { twist: 12.0, ..Press::plain(key, 100.0) };
        let other_way = Press { twist: -12.0, ..Press::plain(key, 100.0) };
        for press in [soft, unequal, other_way] {
            assert_eq!(play(&[press], 50.0, None, None, &mut rng), "", "{press:?}");
        }
    }
}

#[test]
fn one_tone_alone_two_of_a_row_noise_and_silence_are_no_digit() {
    let mut rng = Rng::new(9);
    let mut audio = Vec::new();
    for hz in
        LOW_HZ.iter().chain(&HIGH_HZ).chain(&[350.0, 440.0, 480.0, 620.0, 1100.0, 1400.0, 2100.0])
    {
        for n in 0..1600 {
            let t = core::f64::consts::TAU * f64::from(n) / 8000.0;
            audio.push(8000.0 * (hz * t).sin());
        }
    }
    for pair in [[697.0, 941.0], [1209.0, 1477.0], [440.0, 480.0], [480.0, 620.0], [350.0, 440.0]] {
        for n in 0..1600 {
            let t = core::f64::consts::TAU * f64::from(n) / 8000.0;
            audio.push(6000.0 * ((pair[0] * t).sin() + (pair[1] * t).sin()));
        }
    }
    audio.extend((0..80_000).map(|_| 5000.0 * gauss(&mut rng)));
    silence(1000.0, 8000, &mut audio);
    assert_eq!(keys(&detect(&pcm(&audio), 8000)), "");
}

#[test]
fn digits_are_heard_at_every_rate_and_in_stereo_with_their_time_and_length() {
    for rate in [8_000, 11_025, 16_000, 24_000, 32_000, 44_100, 48_000] {
        let mut audio = Vec::new();
        silence(100.0, rate, &mut audio);
        for key in KEYS.chars() {
            Press::plain(key, 80.0).write(rate, &mut audio);
            silence(70.0, rate, &mut audio);
        }
        let heard = detect(&pcm(&audio), rate);
        assert_eq!(keys(&heard), KEYS, "{rate} Hz");
        for (n, digit) in heard.iter().enumerate() {
            let start = Duration::from_millis(100 + 150 * n as u64);
            assert!(digit.start.abs_diff(start) < Duration::from_millis(9), "{rate} Hz: {digit:?}");
            let length = Duration::from_millis(80);
            assert!(digit.duration.abs_diff(length) < Duration::from_millis(14), "{digit:?}");
            assert!(digit.confidence > 0.9 && digit.confidence < 1.0, "{digit:?}");
        }
        let stereo: Vec<i16> = pcm(&audio).iter().flat_map(|&s| [s, s]).collect();
        let mut detector = InbandDetector::new(rate, 2).unwrap();
        detector.process(&stereo);
        assert_eq!(keys(&core::iter::from_fn(|| detector.poll()).collect::<Vec<_>>()), KEYS);
    }
}

#[test]
fn a_key_that_is_held_for_ever_is_one_digit_of_a_minute() {
    let mut audio = Vec::new();
    Press::plain('3', 90_000.0).write(8000, &mut audio);
    silence(100.0, 8000, &mut audio);
    Press::plain('4', 60.0).write(8000, &mut audio);
    silence(100.0, 8000, &mut audio);
    let heard = detect(&pcm(&audio), 8000);
    assert_eq!(keys(&heard), "34");
    assert!(heard[0].duration.abs_diff(LONGEST_DIGIT) < Duration::from_millis(14));
}

#[test]
fn two_keys_without_a_pause_are_two_digits() {
    let mut audio = Vec::new();
    for key in "1234".chars() {
        Press::plain(key, 60.0).write(8000, &mut audio);
    }
    silence(100.0, 8000, &mut audio);
    assert_eq!(keys(&detect(&pcm(&audio), 8000)), "1234");
}

#[test]
fn a_tone_that_a_codec_bends_is_one_digit_from_its_begin_to_its_end() {
    // As SILK leaves it: it stands still until it is certain, then it is now a little above its frequency, now below.
    let (low, high) = frequencies(Digit::parse('8').unwrap());
    let (mut phases, mut audio) = ([0.0_f64; 2], Vec::new());
    for n in 0..8 * 160 {
        let bent = if n < 400 || n / 240 % 2 == 0 { 1.02 } else { 0.98 };
        for (phase, hz) in phases.iter_mut().zip([low, high]) {
            *phase += core::f64::consts::TAU * hz * bent / 8000.0;
        }
        audio.push(amplitude(-10.0) * (phases[0].sin() + phases[1].sin()));
    }
    silence(100.0, 8000, &mut audio);
    let heard = detect(&pcm(&audio), 8000);
    assert_eq!(keys(&heard), "8");
    let length = Duration::from_millis(160);
    assert!(heard[0].duration.abs_diff(length) < Duration::from_millis(14), "{:?}", heard[0]);
}

#[test]
fn a_leak_of_15_ms_is_suspected_where_it_is_and_is_no_digit() {
    let mut rng = Rng::new(10);
    for key in KEYS.chars() {
        let mut audio = Vec::new();
        let before = 100.0 + 10.0 * unit(&mut rng);
        silence(before, 8000, &mut audio);
        Press::plain(key, 15.0).write(8000, &mut audio);
        silence(100.0, 8000, &mut audio);
        let mut detector = InbandDetector::new(8000, 1).unwrap();
        detector.process(&pcm(&audio));
        assert_eq!(detector.poll(), None);
        let (from, to) = detector.take_suspicion().expect("it is suspected");
        let tone = Duration::from_micros((before * 1000.0) as u64);
        assert!(from < tone + Duration::from_millis(15) && to > tone, "{key}: {from:?} {to:?}");
        assert_eq!(detector.take_suspicion(), None);
    }
}

#[test]
fn misuse_is_told() {
    assert!(InbandDetector::new(8000, 0).is_err());
    assert!(InbandDetector::new(7999, 1).is_err());
}

proptest! {
    #[test]
    fn any_audio_in_any_pieces_gives_the_same_digits(
        samples in proptest::collection::vec(any::<i16>(), 0..3000), cut in 1usize..500
    ) {
        let mut whole = InbandDetector::new(8000, 1).unwrap();
        whole.process(&samples);
        let mut pieces = InbandDetector::new(8000, 1).unwrap();
        for piece in samples.chunks(cut) {
            pieces.process(piece);
        }
        prop_assert_eq!(whole.poll(), pieces.poll());
        prop_assert_eq!(whole.seen(), pieces.seen());
    }
}
