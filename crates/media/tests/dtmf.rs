//! Digits between two whole sessions: signalled, in the audio, injected and masked; each press once.

mod common;

use common::{good, voice, Call, End};
use roomkit_media::codec::CodecSpec;
use roomkit_media::dtmf::{Digit, InbandDetector, Tone};
use roomkit_media::session::{Event, EventType, FrameKind, SessionConfig};
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{Jitter, LinkConfig, Loss, Reorder};

const KEYS: &str = "0123456789*#ABCD";

fn digit(key: char) -> Digit {
    Digit::parse(key).unwrap()
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Keys as tones in audio, each `tone` long with `pause` behind it, after `before` of silence.
fn tones(keys: &str, before: u64, tone: u64, pause: u64, rate: u32) -> Vec<i16> {
    let samples = |ms: u64| (u64::from(rate) * ms / 1000) as usize;
    let mut pcm = vec![0; samples(before)];
    for key in keys.chars() {
        let mut piece = vec![0; samples(tone + pause)];
        Tone::new(digit(key), ms(tone), rate).fill(&mut piece, 1);
        pcm.extend(piece);
    }
    pcm
}

fn confidences(end: &End) -> Vec<f32> {
    let confidence = |(_, event): &(Time, Event)| match event {
        Event::Digit { confidence, .. } => Some(*confidence),
        _ => None,
    };
    end.events.iter().filter_map(confidence).collect()
}

/// One end is a gateway that leaves the tones in the audio beside its events, the other listens for both.
fn signals_beside_tones(config: &mut SessionConfig) {
    (config.dtmf_inband, config.dtmf_beside_audio) = (true, true);
}

#[test]
fn tones_in_the_audio_are_digits_where_the_session_listens_for_them() {
    for listens in [true, false] {
        let mut call = Call::new(good(), 1, |c| c.dtmf_inband = listens);
        call.a.play(1, tones(KEYS, 100, 80, 60, 8000), 8000);
        call.run(Time::secs(4));
        assert_eq!(call.b.digits(), if listens { KEYS } else { "" });
        assert!(confidences(&call.b).iter().all(|&c| c > 0.9 && c < 1.0));
    }
}

#[test]
fn tones_are_heard_at_every_rate_of_the_frames_while_input_is_muted_too() {
    for rate in [8000, 16_000, 44_100, 48_000] {
        let mut call = Call::new(good(), 2, |c| {
            c.dtmf_inband = true;
            c.sample_rate = rate;
        });
        call.b.session.set_input_muted(true);
        call.a.play(1, tones("159D", 100, 60, 60, 8000), 8000);
        call.run(Time::secs(2));
        assert_eq!(call.b.digits(), "159D", "{rate} Hz");
        assert!(call.b.heard().iter().all(|&s| s == 0));
    }
}

#[test]
fn a_gateway_that_signals_a_key_and_leaves_its_tones_in_the_audio_makes_one_digit() {
    for keys in ["1234", "11", "5555", KEYS] {
        for late in [0, 20, 40, 60] {
            for tone in [160, 100, 40, 60] {
                let mut call = Call::new(good(), 3, signals_beside_tones);
                // The sender presses each for 160 ms with 80 ms between them.
                call.a.play(1, tones(keys, 0, tone, 240 - tone, 8000), 8000);
                call.run(Time::ms(late));
                for key in keys.chars() {
                    call.a.session.send_dtmf(digit(key), ms(160)).unwrap();
                }
                call.run(Time::secs(6));
                assert_eq!(call.b.digits(), keys, "{late} ms late, {tone} ms of tone");
                assert!(confidences(&call.b).iter().all(|&c| c == 1.0), "{late} ms, {tone} ms");
            }
        }
    }
}

#[test]
fn both_at_once_stay_one_digit_per_press_on_a_bad_network() {
    for seed in 0..RUNS {
        let mut call = Call::new(bad_link(0.2), seed, signals_beside_tones);
        call.a.play(1, tones("1159", 0, 160, 80, 8000), 8000);
        call.run(Time::ms(40));
        for key in "1159".chars() {
            call.a.session.send_dtmf(digit(key), ms(160)).unwrap();
        }
        call.run(Time::secs(3));
        assert_eq!(call.b.digits(), "1159", "seed {seed}");
    }
}

#[test]
fn an_injected_digit_is_told_once_whether_it_was_received_or_not() {
    let mut call = Call::new(good(), 5, |_| {});
    call.a.play(1, vec![0; 8000 * 4], 8000);
    call.run(Time::secs(1));
    call.b.session.inject_dtmf(call.now, digit('7'), ms(160));
    call.drain();
    assert_eq!(call.b.digits(), "7");
    // SIP INFO that comes before the events, and some that comes after them.
    call.run(Time::secs(2));
    call.a.session.send_dtmf(digit('8'), ms(160)).unwrap();
    call.a.session.send_dtmf(digit('8'), ms(160)).unwrap();
    call.run(Time::ms(2100));
    call.b.session.inject_dtmf(call.now, digit('8'), ms(160));
    call.run(Time::ms(2800));
    call.b.session.inject_dtmf(call.now, digit('8'), ms(160));
    call.run(Time::secs(4));
    assert_eq!(call.b.digits(), "788");
    assert_eq!(call.b.session.stats().digits_merged, 2);
}

#[test]
fn while_digits_are_masked_no_trace_of_a_tone_is_delivered_and_the_digits_still_are() {
    for ptime in [10, 20, 30, 60] {
        for tone in [15, 40, 100, 300] {
            let mut call = Call::new(good(), 6, |c| c.ptime = ms(ptime));
            call.b.session.mask_digits(true);
            call.a.play(1, tones("4929#", 203, tone, 250, 8000), 8000);
            call.run(Time::secs(4));
            let mut detector = InbandDetector::new(8000, 1).unwrap();
            let heard = call.b.heard();
            detector.process(&heard);
            assert_eq!(detector.take_suspicion(), None, "{ptime} ms frames, {tone} ms tones");
            assert!(heard.iter().all(|s| s.abs() < 9), "not one sample of it");
            let expected = if tone < 23 { "" } else { "4929#" };
            assert_eq!(call.b.digits(), expected, "{ptime} ms frames, {tone} ms tones");
            let masked = |(_, e): &(Time, Event)| matches!(e, Event::Digit { masked: true, .. });
            assert_eq!(call.b.events.iter().filter(|e| masked(e)).count(), expected.len());
        }
    }
}

#[test]
fn wherever_in_a_frame_a_tone_begins_and_ends_not_one_sample_of_it_is_delivered() {
    for ptime in [10, 20] {
        for before in 200..220 {
            let mut call = Call::new(good(), 6, |c| c.ptime = ms(ptime));
            call.b.session.mask_digits(true);
            call.a.play(1, tones("47", before, 47, 100, 8000), 8000);
            call.run(Time::secs(1));
            assert!(call.b.heard().iter().all(|s| s.abs() < 9), "{before} ms, {ptime} ms frames");
            assert_eq!(call.b.digits(), "47");
        }
    }
}

#[test]
fn what_leaks_before_and_after_a_signalled_digit_is_masked_too() {
    for jitter in [0, 20, 60, 200] {
        let mut call = Call::new(good(), 7, |c| {
            signals_beside_tones(c);
            (c.dtmf_inband, c.jitter_delay) = (false, ms(jitter));
        });
        call.b.session.mask_digits(true);
        // 8 ms are too short to be suspected: only the events tell where they are.
        let mut pcm = tones("1", 500, 8, 150, 8000);
        pcm.extend(tones("1", 2, 8, 800, 8000));
        call.a.play(1, pcm, 8000);
        call.run(Time::ms(540));
        call.a.session.send_dtmf(digit('1'), ms(100)).unwrap();
        call.run(Time::secs(3));
        assert_eq!(call.b.digits(), "1");
        assert!(call.b.heard().iter().all(|s| s.abs() < 9), "jitter {jitter} ms");
    }
}

#[test]
fn masking_holds_speech_back_and_loses_none_of_it() {
    let speech = voice(8000 * 4, 8000);
    let run = |mask: bool| {
        let mut call = Call::new(good(), 8, |_| {});
        call.a.play(1, speech.clone(), 8000);
        call.run(Time::ms(1003));
        call.b.session.mask_digits(mask);
        call.run(Time::ms(2003));
        let (frames, now) = (call.b.frames.len(), call.now);
        call.b.session.mask_digits(false);
        call.run(Time::ms(4000));
        (call.b.frames, frames, now)
    };
    let (plain, at_two, _) = run(false);
    let (masked, held, _) = run(true);
    assert_eq!(at_two - held, 3, "60 ms later");
    assert_eq!(plain, masked, "and nothing is different in the end");
}

/// What b delivers of audio while it masks, or not, until its end comes at `at` by one or the other.
fn heard_until(at: u64, pcm: &[i16], mask: bool, hangs_up: bool, ptime: u64) -> Vec<i16> {
    let mut call = Call::new(good(), 13, |c| c.ptime = ms(ptime));
    call.b.session.mask_digits(mask);
    call.a.play(1, pcm.to_vec(), 8000);
    call.run(Time::ms(at));
    let leaving = if hangs_up { &mut call.a } else { &mut call.b };
    leaving.session.close(call.now, "");
    call.drain();
    call.run(Time::ms(at + 500));
    let due: Vec<Duration> = call.b.frames.iter().map(|frame| frame.timestamp).collect();
    assert!(due.windows(2).all(|pair| pair[1] - pair[0] == ms(ptime)), "no frame is missing");
    call.b.heard()
}

#[test]
fn masking_loses_nothing_of_speech_when_the_call_ends() {
    let speech = voice(8000 * 4, 8000);
    for hangs_up in [false, true] {
        for (at, ptime) in [(1003, 20), (1015, 10), (1021, 30), (2010, 60)] {
            let plain = heard_until(at, &speech, false, hangs_up, ptime);
            assert!(plain.len() > 8 * (at as usize - 250), "{}", plain.len());
            let masked = heard_until(at, &speech, true, hangs_up, ptime);
            assert!(plain == masked, "hangs up: {hangs_up} at {at} ms, {ptime} ms frames");
        }
    }
}

#[test]
fn a_tone_that_begins_as_the_call_ends_is_not_heard_in_what_was_held_back() {
    for hangs_up in [false, true] {
        for begins in (400..620).step_by(3) {
            for ptime in [10, 20, 60] {
                let pcm = tones("4", begins, 300, 0, 8000);
                let heard = heard_until(603, &pcm, true, hangs_up, ptime);
                let mut detector = InbandDetector::new(8000, 1).unwrap();
                detector.process(&heard);
                let key = format!("at {begins} ms, {ptime} ms frames, hangs up: {hangs_up}");
                assert_eq!(detector.take_suspicion(), None, "{key}");
                // What is left of a tone that has only begun is too short for anyone to tell which it is.
                let left = heard.iter().filter(|s| s.abs() > 50).count();
                assert!(left < 8 * 10, "{key}: {left} samples");
            }
        }
    }
}

#[test]
fn muted_while_masked_nothing_of_what_is_held_back_is_heard() {
    let mut call = Call::new(good(), 12, |_| {});
    call.a.play(1, vec![5000; 8000 * 2], 8000);
    call.b.session.mask_digits(true);
    call.run(Time::ms(1000));
    call.b.session.set_input_muted(true);
    let before = call.b.frames.len();
    call.run(Time::ms(1500));
    let after = &call.b.frames[before..];
    assert!(after.len() > 20 && after.iter().all(|frame| frame.pcm.iter().all(|&s| s == 0)));
}

#[test]
fn unmasked_in_the_middle_of_a_tone_it_stays_masked_to_its_end() {
    let mut call = Call::new(good(), 9, |_| {});
    let mut pcm = tones("5", 500, 400, 100, 8000);
    pcm.extend(voice(8000, 8000));
    call.a.play(1, pcm, 8000);
    call.b.session.mask_digits(true);
    call.run(Time::ms(900));
    call.b.session.mask_digits(false);
    call.run(Time::secs(3));
    let heard = call.b.heard();
    let mut detector = InbandDetector::new(8000, 1).unwrap();
    detector.process(&heard[..8000]);
    assert_eq!((detector.poll(), detector.take_suspicion()), (None, None));
    assert!(heard.iter().any(|&s| s.abs() > 1000), "speech is heard again");
    let due: Vec<Duration> = call.b.frames.iter().map(|frame| frame.timestamp).collect();
    assert!(due.windows(2).all(|pair| pair[1] - pair[0] == ms(20)), "no frame is missing");
}

#[test]
fn a_digit_that_was_pressed_while_masked_is_told_as_masked_whenever_masking_ends() {
    for end in (560..900).step_by(20) {
        let mut call = Call::new(good(), 11, |c| c.dtmf_inband = true);
        call.a.play(1, tones("5", 500, 60, 1000, 8000), 8000);
        call.b.session.mask_digits(true);
        call.run(Time::ms(end));
        let told = call.b.digits() == "5";
        call.b.session.mask_digits(false);
        call.run(Time::secs(3));
        let masked = |(_, e): &(Time, Event)| matches!(e, Event::Digit { masked: true, .. });
        assert_eq!(call.b.digits(), "5");
        assert!(call.b.events.iter().any(masked), "unmasked at {end} ms, told before: {told}");
    }
}

#[test]
fn a_tone_whose_beginning_came_while_masked_is_masked_wherever_it_lies() {
    // The packet of 500 to 520 ms arrives at 540.
    for before in (500..=512).step_by(4) {
        for end in (541..620).step_by(6) {
            let mut call = Call::new(good(), 11, |c| c.dtmf_inband = true);
            call.a.play(1, tones("5", before, 60, 500, 8000), 8000);
            call.b.session.mask_digits(true);
            call.run(Time::ms(end));
            call.b.session.mask_digits(false);
            call.run(Time::secs(1));
            let masked = |(_, e): &(Time, Event)| matches!(e, Event::Digit { masked: true, .. });
            assert!(call.b.events.iter().any(masked), "from {before} ms, unmasked at {end} ms");
            assert!(call.b.heard().iter().all(|s| s.abs() < 9), "{before} ms, {end} ms");
        }
    }
}

#[test]
fn a_tone_that_the_goodbye_cuts_off_is_still_told() {
    let mut call = Call::new(good(), 10, |c| c.dtmf_inband = true);
    call.a.play(1, tones("9", 200, 400, 0, 8000), 8000);
    call.run(Time::ms(400));
    call.a.session.close(call.now, "bye");
    call.drain();
    call.run(Time::secs(2));
    assert_eq!(call.b.digits(), "9");
    assert!(call.b.count(FrameKind::Received) > 5);
}

/// Everything at once, as in the trains of `dtmf/trains_over_a_bad_link.rs`.
fn bad_link(loss: f64) -> LinkConfig {
    LinkConfig {
        delay: ms(40),
        jitter: Jitter::Exponential(ms(10)),
        loss: Loss::Random(loss),
        reorder: Some(Reorder { probability: 0.15, extra: ms(120) }),
        duplicate: 0.1,
        ..LinkConfig::default()
    }
}

/// A thousand calls where that is quick; where it is not, some.
const RUNS: u64 = if cfg!(debug_assertions) { 60 } else { 1000 };

fn at_48_khz(config: &mut SessionConfig) {
    config.send_codec = CodecSpec::l16(97, 48_000, 1);
    config.receive_codecs = vec![config.send_codec, CodecSpec::PCMU];
    let events = vec![
        EventType { payload_type: 101, clock_rate: 8000 },
        EventType { payload_type: 102, clock_rate: 48_000 },
    ];
    (config.send_events, config.receive_events) = (events.clone(), events);
    config.sample_rate = 48_000;
}

/// Asserts that `pressed` arrives exactly in every one of the runs, beside audio.
fn assert_exact(pressed: &str, held: Duration, clock: u32) {
    let slow = cfg!(debug_assertions) && held > ms(1000);
    let runs = if slow { RUNS / 3 } else { RUNS };
    for seed in 0..runs {
        let mut call = Call::new(bad_link(0.2), seed, |c| {
            if clock == 48_000 {
                at_48_khz(c);
            }
        });
        // Speech makes the source known, and goes on beside the digits.
        call.a.play(1, vec![0; clock as usize], clock);
        call.run(Time::ms(500));
        for key in pressed.chars() {
            call.a.session.send_dtmf(digit(key), held).unwrap();
        }
        let all = (held + ms(100)) * pressed.len() as u32;
        call.run(Time::ms(1500) + all);
        assert_eq!(call.b.digits(), pressed, "seed {seed}, {clock} Hz");
    }
}

#[test]
fn exact_over_whole_sessions_at_20_percent_loss_1234_at_8_khz() {
    assert_exact("1234", ms(160), 8000);
}

#[test]
fn exact_over_whole_sessions_at_20_percent_loss_11_at_8_khz() {
    assert_exact("11", ms(160), 8000);
}

#[test]
fn exact_over_whole_sessions_at_20_percent_loss_all_16_at_8_khz() {
    assert_exact(KEYS, ms(160), 8000);
}

#[test]
fn exact_over_whole_sessions_at_20_percent_loss_a_digit_of_10_s_at_8_khz() {
    assert_exact("5", ms(10_000), 8000);
}

#[test]
fn exact_over_whole_sessions_at_20_percent_loss_1234_at_48_khz() {
    assert_exact("1234", ms(160), 48_000);
}

#[test]
fn exact_over_whole_sessions_at_20_percent_loss_11_at_48_khz() {
    assert_exact("11", ms(160), 48_000);
}

#[test]
fn exact_over_whole_sessions_at_20_percent_loss_all_16_at_48_khz() {
    assert_exact(KEYS, ms(160), 48_000);
}

#[test]
fn exact_over_whole_sessions_at_20_percent_loss_a_digit_of_10_s_at_48_khz() {
    assert_exact("5", ms(10_000), 48_000);
}

/// Beside audio at 48 kHz, to an end that knows events at 8000 Hz only.
#[test]
fn events_of_another_clock_than_the_audio_s_tell_their_length_in_their_own() {
    let mut call = Call::new(LinkConfig::default(), 1, |c| {
        at_48_khz(c);
        c.send_events.truncate(1);
        c.receive_events.truncate(1);
    });
    call.a.play(1, vec![0; 48_000], 48_000);
    call.run(Time::ms(500));
    call.a.session.send_dtmf(digit('5'), ms(100)).unwrap();
    // Longer than 0xFFFF ticks of the audio's clock.
    call.a.session.send_dtmf(digit('6'), ms(2000)).unwrap();
    call.run(Time::secs(4));
    assert_eq!(call.b.digits(), "56");
    let lengths: Vec<Duration> =
        call.b.events.iter().filter_map(|(_, event)| duration(event)).collect();
    assert_eq!(lengths, [ms(100), ms(2000)]);
    let five: Vec<u16> = call
        .a
        .rtp()
        .iter()
        .filter(|(_, _, payload_type, ..)| *payload_type == 101)
        .map(|(.., payload)| u16::from_be_bytes([payload[2], payload[3]]))
        .take(7)
        .collect();
    assert_eq!(five, [160, 320, 480, 640, 800, 800, 800]);
}

fn duration(event: &Event) -> Option<Duration> {
    match event {
        Event::Digit { duration, .. } => Some(*duration),
        _ => None,
    }
}

#[test]
fn a_key_that_is_held_while_the_codec_and_its_clock_change_is_one_digit() {
    for (from, to) in [(8000, 48_000), (48_000, 8000), (8000, 16_000)] {
        for at in [40, 100, 160, 240] {
            for seed in 0..20 {
                let set = |c: &mut SessionConfig, first: u32| {
                    let wide = |rate| CodecSpec::l16(if rate == 48_000 { 97 } else { 98 }, rate, 1);
                    let spec = |rate| if rate == 8000 { CodecSpec::PCMU } else { wide(rate) };
                    c.send_codec = spec(first);
                    c.receive_codecs = vec![spec(from), spec(to)];
                    let events: Vec<EventType> = [(101, 8000), (102, 48_000), (103, 16_000)]
                        .map(|(payload_type, clock_rate)| EventType { payload_type, clock_rate })
                        .into();
                    (c.send_events, c.receive_events) = (events.clone(), events);
                };
                let mut call = Call::new(bad_link(0.1), seed, |c| set(c, from));
                call.a.play(1, voice(8000 * 3, 8000), 8000);
                call.run(Time::ms(600));
                for key in "575".chars() {
                    call.a.session.send_dtmf(digit(key), ms(160)).unwrap();
                }
                call.run(Time::ms(600 + at));
                let mut config = SessionConfig::pcmu(Some(common::B.parse().unwrap()));
                set(&mut config, to);
                call.a.session.update(call.now, &config).unwrap();
                call.run(Time::secs(3));
                assert_eq!(call.b.digits(), "575", "{from} to {to} Hz after {at} ms, seed {seed}");
            }
        }
    }
}
