use super::*;
use crate::rng::Rng;
use proptest::prelude::*;

/// Samples of 20 ms at 8 kHz.
const FRAME: usize = 160;
/// Louder than any background that the guard makes of a quiet line: −51 dBFS.
const AUDIBLE: f64 = 8600.0;

/// Something like a voice: a buzz whose pitch glides and breath, through two formants that move with every syllable.
fn voice(seed: u64, ms: usize) -> Vec<f64> {
    let mut rng = Rng::new(seed);
    let mut out = Vec::new();
    let (mut phase, mut state) = (0.0, [0.0f64; 4]);
    let pitch = 90.0 + 120.0 * rng.unit();
    while out.len() < ms * 8 {
        let length = 800 + (1200.0 * rng.unit()) as usize;
        let (f1, f2) = (300.0 + 500.0 * rng.unit(), 1000.0 + 1600.0 * rng.unit());
        let breath = if rng.chance(0.3) { 1.0 } else { 0.1 };
        let glide = 0.8 + 0.4 * rng.unit();
        for n in 0..length {
            let part = n as f64 / length as f64;
            phase += pitch * (1.0 + (glide - 1.0) * part) / 8000.0;
            let pulse = if phase >= 1.0 { 8.0 * (1.0 - breath) } else { 0.0 };
            phase %= 1.0;
            let source = pulse + breath * (2.0 * rng.unit() - 1.0);
            let mut x = source;
            for (formant, memory) in [f1, f2].iter().zip(state.chunks_exact_mut(2)) {
                let angle = core::f64::consts::TAU * formant / 8000.0;
                let y = x + 1.8 * angle.cos() * memory[0] - 0.81 * memory[1];
                (memory[1], memory[0]) = (memory[0], y);
                x = y;
            }
            out.push(700.0 * x * (core::f64::consts::PI * part).sin());
        }
        out.extend(core::iter::repeat_n(0.0, (600.0 * rng.unit()) as usize));
    }
    out.truncate(ms * 8);
    out
}

/// A voice after 200 ms of quiet, in which the line's background is learnt.
fn answer(seed: u64, ms: usize) -> Vec<f64> {
    let mut sound = vec![0.0; 1600];
    sound.extend(voice(seed, ms - 200));
    sound
}

/// `sound` again, `by_ms` later.
fn late(sound: &[f64], by_ms: f64, gain_db: f64) -> Vec<f64> {
    let by = (by_ms * 8.0) as usize;
    let gain = 10f64.powf(gain_db / 20.0);
    (0..sound.len()).map(|n| if n < by { 0.0 } else { gain * sound[n - by] }).collect()
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn pcm(sound: &[f64]) -> Vec<i16> {
    sound.iter().map(|x| x.round().clamp(-32768.0, 32767.0) as i16).collect()
}

/// What a detector hears of `heard` while `played` is played, and which frames were left as they were.
fn through(guard: &mut EchoGuard, played: &[i16], heard: &[i16]) -> (Vec<i16>, Vec<bool>) {
    let (mut out, mut same) = (Vec::new(), Vec::new());
    for (n, (ours, theirs)) in played.chunks(FRAME).zip(heard.chunks(FRAME)).enumerate() {
        let clock_ms = n as f64 * 20.0;
        guard.played(clock_ms, 1, ours);
        let mut frame = theirs.to_vec();
        same.push(!guard.heard(clock_ms, 1, &mut frame));
        out.extend(frame);
    }
    (out, same)
}

fn ear() -> EchoGuard {
    EchoGuard::new(8000, 8000).unwrap()
}

/// In ms, when frames are heard that are more than background.
fn audible(out: &[i16], rate: usize) -> Vec<usize> {
    let frames = out.chunks(rate / 50).enumerate();
    let loud = frames.filter(|(_, frame)| {
        let power: f64 = frame.iter().map(|&s| f64::from(s).powi(2)).sum();
        power / frame.len() as f64 > AUDIBLE
    });
    loud.map(|(n, _)| n * 20).collect()
}

#[test]
fn an_echo_is_silence_from_its_first_syllable_whatever_its_delay_and_loudness() {
    let ours = answer(1, 3000);
    for delay_ms in [0.0, 20.0, 33.3, 140.0, 400.0, 600.0, 800.0] {
        for gain_db in [0.0, -12.0, -20.0, -30.0] {
            let heard = pcm(&late(&ours, delay_ms, gain_db));
            let (out, _) = through(&mut ear(), &pcm(&ours), &heard);
            assert_eq!(audible(&out, 8000), [0usize; 0], "{delay_ms} ms, {gain_db} dB");
            let loud = audible(&heard, 8000).len();
            assert!(loud > 10, "{delay_ms} ms, {gain_db} dB: {loud} frames tell nothing");
        }
    }
}

#[test]
fn two_echoes_are_silence() {
    let ours = answer(2, 3000);
    let heard = sum(&late(&ours, 60.0, -14.0), &late(&ours, 310.0, -18.0));
    let (out, _) = through(&mut ear(), &pcm(&ours), &pcm(&heard));
    assert_eq!(audible(&out, 8000), [0usize; 0]);
}

#[test]
fn an_echo_that_moves_by_steps_of_a_jitter_buffer_stays_silence() {
    let ours = answer(3, 4000);
    for step_ms in [-40.0, -20.0, 20.0, 40.0, 60.0] {
        let (first, then) = (late(&ours, 180.0, -15.0), late(&ours, 180.0 + step_ms, -15.0));
        let mut heard = first;
        heard[16_000..].copy_from_slice(&then[16_000..]);
        let (out, _) = through(&mut ear(), &pcm(&ours), &pcm(&heard));
        assert_eq!(audible(&out, 8000), [0usize; 0], "{step_ms} ms");
    }
}

#[test]
fn a_caller_over_the_echo_is_heard_and_only_he() {
    let ours = answer(4, 4000);
    for gain_db in [0.0, -12.0, -20.0, -30.0] {
        for seed in 100..110 {
            let mut speech = vec![0.0; 16_000];
            speech.extend(voice(seed, 1000));
            speech.resize(ours.len(), 0.0);
            let heard = sum(&late(&ours, 150.0, gain_db), &speech);
            let (out, _) = through(&mut ear(), &pcm(&ours), &pcm(&heard));
            let times = audible(&out, 8000);
            let begins = audible(&pcm(&speech), 8000)[0];
            let at = *times.first().expect("the caller is heard");
            assert!(
                at >= begins && at <= begins + 260,
                "{gain_db} dB: {at}, he begins at {begins}"
            );
            assert!(
                times.iter().all(|&at| at <= 3460),
                "{gain_db} dB: the echo after him: {times:?}"
            );
        }
    }
}

#[test]
fn where_no_echo_is_a_caller_is_heard_40_ms_later_from_his_first_sample() {
    let ours = pcm(&voice(5, 4000));
    let mut speech = vec![0.0; 16_000];
    speech.extend(voice(6, 1000));
    speech.resize(ours.len(), 0.0);
    let heard = pcm(&speech);
    let (out, _) = through(&mut ear(), &ours, &heard);
    let first = audible(&heard, 8000)[0] * 8;
    let late = 320 - FRAME;
    let passed = &out[first + late..][..1600];
    assert!(
        (0..=2 * FRAME).any(|by| passed == &heard[first + late - by..][..1600]),
        "what is heard is not what he said"
    );
    let (begins, ends) = (audible(&out, 8000)[0], *audible(&out, 8000).last().unwrap());
    assert!(begins <= first / 8 + 40, "{begins}");
    assert!(ends <= audible(&heard, 8000).last().unwrap() + 60, "{ends}");
}

#[test]
fn where_nothing_was_played_within_a_second_frames_are_left_as_they_are() {
    let heard = pcm(&voice(7, 4000));
    let mut guard = ear();
    let (out, same) = through(&mut guard, &vec![0; heard.len()], &heard);
    assert!(same.iter().all(|&same| same) && out == heard);
    assert!(guard.ear.is_none(), "silence needs no memory");

    let mut played = pcm(&voice(8, 1000));
    played.resize(heard.len(), 0);
    let (out, same) = through(&mut ear(), &played, &heard);
    assert!(!same[..40].iter().any(|&same| same));
    assert!(same[100..].iter().all(|&same| same), "a second after the last sound");
    assert_eq!(out[100 * FRAME..], heard[100 * FRAME..]);
}

#[test]
fn an_echo_is_told_at_every_rate_and_number_of_channels() {
    let ours = answer(9, 2500);
    let mut speech = vec![0.0; 12_000];
    speech.extend(voice(10, 1000));
    let heard = pcm(&sum(&late(&ours, 170.0, -15.0), &speech));
    for (rate, channels) in [(16_000, 1), (24_000, 1), (48_000, 2), (44_100, 1)] {
        let widen = |pcm: &[i16]| {
            let (mut wide, mut out) = (Vec::new(), Vec::new());
            Resampler::new(8000, rate, 1).unwrap().process(pcm, &mut wide);
            mix::to_channels(&wide, 1, channels, &mut out);
            out
        };
        let (played, mut heard) = (widen(&pcm(&ours)), widen(&heard));
        let mut guard = EchoGuard::new(rate, rate).unwrap();
        let frame = rate as usize / 50 * usize::from(channels);
        for (n, (ours, theirs)) in played.chunks(frame).zip(heard.chunks_mut(frame)).enumerate() {
            guard.played(n as f64 * 20.0, channels, ours);
            guard.heard(n as f64 * 20.0, channels, theirs);
        }
        let times = audible(&heard, rate as usize * usize::from(channels));
        assert!(
            times.first().is_some_and(|&at| (1500..1800).contains(&at)),
            "{rate} Hz, {channels}: {times:?}"
        );
    }
}

#[test]
fn a_clock_that_is_rounded_or_starts_anew_does_no_harm() {
    let ours = pcm(&voice(11, 6000));
    let heard = pcm(&late(&voice(11, 6000), 150.0, -15.0));
    let mut guard = ear();
    let mut out = Vec::new();
    for (n, (ours, theirs)) in ours.chunks(FRAME).zip(heard.chunks(FRAME)).enumerate() {
        // A new beginning in the middle, at another place.
        let clock_ms = if n < 150 { n as f64 * 20.0 } else { 1e9 + n as f64 * 20.0 };
        guard.played(clock_ms + (n % 3) as f64, 1, ours);
        let mut frame = theirs.to_vec();
        guard.heard(clock_ms - (n % 2) as f64, 1, &mut frame);
        out.extend(frame);
    }
    // Of the audio before the new beginning no echo can be known after it: 150 ms.
    let times = audible(&out, 8000);
    assert!(times.iter().all(|at| (3000..3400).contains(at)), "{times:?}");
}

#[test]
fn the_same_call_twice_is_the_same_twice() {
    let ours = voice(12, 3000);
    let heard = pcm(&sum(&late(&ours, 90.0, -12.0), &voice(13, 3000)));
    let run = || through(&mut ear(), &pcm(&ours), &heard);
    assert_eq!(run(), run());
}

#[test]
fn one_long_frame_does_not_keep_its_memory() {
    let mut guard = ear();
    for length in [60_000, 160] {
        guard.played(0.0, 2, &vec![1000; 2 * length]);
        guard.heard(0.0, 2, &mut vec![1000; 2 * length]);
    }
    let ear = guard.ear.as_ref().unwrap();
    for stream in [&ear.heard, &ear.played] {
        assert!(stream.pcm.capacity().max(stream.mono.capacity()) <= LONG_FRAME);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Played(f64, u8, Vec<i16>),
    Heard(f64, u8, Vec<i16>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let clock = prop_oneof![
        (0u32..200).prop_map(|n| f64::from(n) * 20.0),
        -100.0..2000.0,
        Just(f64::NAN),
        Just(f64::INFINITY),
        any::<f64>(),
    ];
    let sound = prop_oneof![
        Just(vec![0; 160]),
        proptest::collection::vec(any::<i16>(), 0..700),
        (0u64..4, 0usize..50).prop_map(|(seed, n)| {
            pcm(&voice(seed, 1000))[n * 160..][..160.min(8000 - n * 160)].to_vec()
        }),
        Just(vec![i16::MIN; 3000]),
    ];
    let step = (any::<bool>(), clock, 0u8..4, sound).prop_map(|(played, clock, channels, pcm)| {
        if played {
            Step::Played(clock, channels, pcm)
        } else {
            Step::Heard(clock, channels, pcm)
        }
    });
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn whatever_comes_in_whatever_order_nothing_panics_or_grows(
        steps in steps(),
        rates in (0usize..4, 0usize..4),
    ) {
        const RATES: [u32; 4] = [8000, 16_000, 44_100, 192_000];
        let mut guard = EchoGuard::new(RATES[rates.0], RATES[rates.1]).unwrap();
        for step in steps {
            match step {
                Step::Played(clock, channels, pcm) => guard.played(clock, channels, &pcm),
                Step::Heard(clock, channels, mut pcm) => {
                    let before = pcm.clone();
                    if !guard.heard(clock, channels, &mut pcm) {
                        prop_assert_eq!(before, pcm);
                    }
                }
            }
        }
        guard.played(0.0, 1, &[1]);
        guard.heard(0.0, 1, &mut [1]);
        let ear = guard.ear.as_ref().unwrap();
        for stream in [&ear.heard, &ear.played] {
            prop_assert!(stream.pcm.capacity().max(stream.mono.capacity()) <= 3 * LONG_FRAME);
        }
    }
}
