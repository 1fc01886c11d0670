//! What is heard while nobody talks: comfort noise as the far end describes it (RFC 3389).

mod common;

use common::far::{dbov, noise_heard, Far};
use common::{voice, Call};
use roomkit_media::codec::CodecSpec;
use roomkit_media::comfort_noise::NoiseShape;
use roomkit_media::session::{Event, Fill, FrameKind, NoiseType, RtcpMode, Session, SessionConfig};
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{Jitter, LinkConfig, Loss, Reorder};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn rfc3389_silence_after_a_description_is_that_noise_until_speech_resumes_and_no_loss() {
    let mut far = Far::new(8, |_| {});
    far.talk(0, 50);
    far.send(1000, 13, &[45]);
    far.talk(3000, 50);
    far.run(4060);
    let kinds: Vec<FrameKind> = far.frames.iter().map(|frame| frame.kind).collect();
    let noise = 100;
    assert!(kinds[..50].iter().all(|kind| *kind == FrameKind::Received), "{kinds:?}");
    assert!(kinds[50..50 + noise].iter().all(|kind| *kind == FrameKind::ComfortNoise));
    assert!(kinds[50 + noise..].iter().all(|kind| *kind == FrameKind::Received), "{kinds:?}");
    assert_eq!(kinds.len(), 200, "not a frame too many or too few");
    let level = dbov(&noise_heard(&far.frames)[160..]);
    assert!((level + 45.0).abs() < 1.0, "{level} dBov");
    let stats = far.session.stats();
    assert_eq!((stats.frames_comfort_noise, stats.frames_concealed), (100, 0));
    assert_eq!((stats.packets_lost, stats.late, stats.unknown_payload_type), (0, 0, 0));
}

#[test]
fn rfc3389_updates_within_a_pause_change_the_noise_and_nothing_else() {
    let mut far = Far::new(8, |_| {});
    far.talk(0, 10);
    for n in 0..10u64 {
        far.send(200 + 200 * n, 13, &[if n < 5 { 40 } else { 60 }]);
    }
    far.talk(2200, 10);
    far.run(2460);
    assert_eq!(far.count(FrameKind::Concealed) + far.count(FrameKind::Silence), 0);
    assert_eq!(far.count(FrameKind::ComfortNoise), 100);
    let noise = noise_heard(&far.frames);
    assert!((dbov(&noise[160..7800]) + 40.0).abs() < 1.0, "{}", dbov(&noise[160..7800]));
    assert!((dbov(&noise[9000..]) + 60.0).abs() < 1.0, "{}", dbov(&noise[9000..]));
    assert_eq!(far.session.stats().packets_lost, 0);
}

#[test]
fn rfc3389_3_2_a_spectrum_is_heard() {
    // Neighbours of dull noise are alike: k = -0.9.
    let mut far = Far::new(8, |_| {});
    far.talk(0, 10);
    far.send(200, 13, &[30, 13, 127, 127]);
    far.run(4000);
    let noise = noise_heard(&far.frames);
    let power: f64 = noise.iter().map(|s| f64::from(*s).powi(2)).sum();
    let pairs = noise.windows(2).map(|p| f64::from(p[0]) * f64::from(p[1])).sum::<f64>();
    assert!((0.85..0.95).contains(&(pairs / power)), "{}", pairs / power);
    assert!((dbov(&noise) + 30.0).abs() < 1.0);
}

#[test]
fn rfc3389_4_noise_of_another_clock_has_a_type_of_its_own_beside_its_codec() {
    let wide = CodecSpec::l16(97, 16_000, 1);
    let mut far = Far::new(16, |config| {
        config.receive_codecs = vec![CodecSpec::PCMU, wide];
        config.receive_noise.push(NoiseType { payload_type: 98, clock_rate: 16_000 });
        config.sample_rate = 16_000;
    });
    for n in 0..10 {
        far.send(20 * n, 97, &[4; 640]);
    }
    far.send(200, 98, &[50]);
    for n in 0..10 {
        far.send(1200 + 20 * n, 97, &[4; 640]);
    }
    far.run(1460);
    assert_eq!((far.count(FrameKind::Received), far.count(FrameKind::ComfortNoise)), (20, 50));
    assert!(far.frames.iter().all(|frame| frame.pcm.len() == 320));
    assert!((dbov(&noise_heard(&far.frames)) + 50.0).abs() < 1.0);
}

#[test]
fn beside_g722_whose_clock_is_that_of_narrow_audio_noise_has_its_level_and_no_spectrum() {
    let g722 = CodecSpec::G722;
    let mut far = Far::new(8, |config| {
        config.send_codec = g722;
        config.receive_codecs = vec![g722];
        config.sample_rate = 16_000;
    });
    for n in 0..10 {
        far.send(20 * n, g722.payload_type, &[0xfa; 160]);
    }
    far.send(200, 13, &[40, 13, 13]);
    far.run(2000);
    let noise = noise_heard(&far.frames[12..]);
    assert!(noise.len() > 320 * 80);
    assert!((dbov(&noise) + 40.0).abs() < 1.0, "{}", dbov(&noise));
    let power: f64 = noise.iter().map(|s| f64::from(*s).powi(2)).sum();
    let pairs = noise.windows(2).map(|p| f64::from(p[0]) * f64::from(p[1])).sum::<f64>();
    assert!((pairs / power).abs() < 0.05, "white: {}", pairs / power);
}

#[test]
fn a_lost_description_costs_a_pause_without_noise_and_the_next_one_brings_it() {
    let mut far = Far::new(8, |_| {});
    far.talk(0, 10);
    far.seq = far.seq.wrapping_add(1);
    far.run(700);
    assert_eq!(far.count(FrameKind::ComfortNoise), 0);
    far.send(700, 13, &[50]);
    far.talk(1200, 10);
    far.run(1460);
    assert_eq!(far.count(FrameKind::ComfortNoise), 25);
    assert_eq!(far.session.stats().packets_lost, 1);
}

#[test]
fn a_description_that_comes_late_or_out_of_order_moves_no_speech() {
    let mut far = Far::new(8, |_| {});
    far.talk(0, 10);
    // 300 ms on the way: beyond the delay, and beyond what would move playout back if it were speech.
    far.send_late(200, 500, 13, &[40]);
    far.talk(800, 50);
    far.run(1860);
    let at: Vec<u32> = far.frames.iter().map(|frame| frame.timestamp.as_millis() as u32).collect();
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] == 20));
    let first = far.frames.iter().rposition(|f| f.kind != FrameKind::Received).unwrap() + 1;
    assert_eq!(at[first], 800, "speech is where it belongs");
    assert!(far.session.stats().buffered <= MS(80));
    assert_eq!(far.session.stats().late, 0);
}

#[test]
fn speech_lost_right_after_noise_is_noise_and_not_concealed() {
    let mut far = Far::new(8, |_| {});
    far.talk(0, 10);
    far.send(200, 13, &[40]);
    far.seq = far.seq.wrapping_add(2);
    far.talk(540, 10);
    far.run(800);
    assert_eq!(far.count(FrameKind::Concealed), 0);
    assert_eq!(far.count(FrameKind::ComfortNoise), 17);
    assert_eq!(far.session.stats().packets_lost, 2);
}

#[test]
fn what_describes_no_noise_is_counted_and_changes_nothing() {
    let mut far = Far::new(8, |_| {});
    far.talk(0, 10);
    far.send(220, 13, &[30, 255]);
    far.send(240, 13, &[30; 200]);
    far.talk(500, 10);
    far.run(760);
    assert_eq!(far.session.stats().comfort_noise_invalid, 2);
    assert_eq!(far.count(FrameKind::ComfortNoise), 0);
    let stats = far.session.stats();
    assert_eq!((stats.packets_lost, stats.frames_concealed), (0, 0), "a pause all the same");
}

#[test]
fn a_type_that_nobody_agreed_on_is_no_comfort_noise() {
    let mut far = Far::new(8, |config| config.receive_noise.clear());
    far.talk(0, 10);
    far.send(200, 13, &[30]);
    far.run(600);
    assert_eq!(far.session.stats().unknown_payload_type, 1);
    assert_eq!(far.count(FrameKind::ComfortNoise), 0);
}

#[test]
fn a_flood_of_descriptions_stays_within_the_bounds() {
    let mut far = Far::new(8, |_| {});
    far.talk(0, 10);
    for n in 0..2000u64 {
        far.send_late(200 + n / 4, 200, 13, &[40]);
    }
    assert!(far.session.stats().overflow > 100, "{:?}", far.session.stats());
    far.talk(1200, 50);
    far.run(2260);
    let heard = far.count(FrameKind::Received);
    assert!((58..=60).contains(&heard), "speech is heard as before: {heard}");
    assert!(far.session.stats().buffered <= MS(100));
}

#[test]
fn the_same_call_makes_the_same_noise_and_another_call_another() {
    let heard = |seed: u64| {
        let mut far = Far::new(8, |_| {});
        let mut config = SessionConfig::pcmu(Some(common::A.parse().unwrap()));
        config.rtcp = RtcpMode::Off;
        far.session = Session::new(config, Time::ZERO, seed).unwrap();
        far.talk(0, 10);
        far.send(200, 13, &NoiseShape::white(40).level_payload());
        far.run(1000);
        far.frames
    };
    assert_eq!(heard(1), heard(1));
    assert_ne!(noise_heard(&heard(1)), noise_heard(&heard(2)));
}

#[test]
fn while_muted_noise_is_silence() {
    let mut far = Far::new(8, |_| {});
    far.session.set_input_muted(true);
    far.talk(0, 10);
    far.send(200, 13, &[30]);
    far.run(600);
    assert!(far.frames.iter().all(|frame| frame.pcm.iter().all(|sample| *sample == 0)));
    assert!(far.frames.iter().all(|frame| frame.kind == FrameKind::Silence));
}

#[test]
fn a_call_that_begins_with_a_description_begins_with_noise() {
    let mut far = Far::new(8, |_| {});
    far.send(0, 13, &[40]);
    far.send(200, 13, &[40]);
    far.send(400, 13, &[40]);
    far.talk(600, 10);
    far.run(860);
    assert_eq!(far.frames[0].kind, FrameKind::ComfortNoise);
    // The signalled source is believed with its second packet; speech comes with the usual delay nevertheless.
    assert_eq!((far.count(FrameKind::ComfortNoise), far.count(FrameKind::Received)), (23, 10));
}

#[test]
fn the_end_of_a_call_ends_the_noise() {
    let mut far = Far::new(8, |config| config.rtp_timeout = Some(MS(1000)));
    far.talk(0, 10);
    far.send(200, 13, &[40]);
    far.run(3000);
    assert!(far.events.contains(&Event::RtpTimeout));
    assert!(far.frames.last().unwrap().timestamp < MS(1300));
}

/// Speech and pauses of a second each.
#[test]
fn over_a_bad_link_speech_is_concealed_and_pauses_are_noise() {
    for seed in 0..20 {
        let link = LinkConfig {
            delay: MS(40),
            jitter: Jitter::Uniform(MS(30)),
            loss: Loss::Random(0.05),
            reorder: Some(Reorder { probability: 0.02, extra: MS(30) }),
            duplicate: 0.02,
            ..LinkConfig::default()
        };
        let mut call = Call::between(link, seed, |c| c.fill = Fill::ComfortNoise, |_| {});
        for n in 0..30u64 {
            call.a.play(n + 1, voice(8000, 8000), 8000);
            call.run(Time::secs(2 * n + 2));
        }
        let stats = call.b.session.stats();
        let frames = &call.b.frames;
        assert!(frames.windows(2).all(|pair| pair[1].timestamp - pair[0].timestamp == MS(20)));
        // Half of a minute is speech, of which one in twenty is lost, and half noise. Where the description at the end of
        // speech is lost there is silence for 200 ms more.
        let (noise, concealed) = (stats.frames_comfort_noise, stats.frames_concealed);
        assert!((1380..=1560).contains(&noise), "{seed}: {stats:?}");
        assert!((20..=180).contains(&concealed), "{seed}: {stats:?}");
        assert!(stats.frames_received >= 1330, "{seed}: {stats:?}");
        assert!(stats.buffered <= MS(160), "{seed}: {stats:?}");
        // What is lost within speech is concealed, not filled with noise: noise comes in pauses, one for each.
        let noisy = |n: usize| frames[n].kind == FrameKind::ComfortNoise;
        let begins = (1..frames.len()).filter(|&n| noisy(n) && !noisy(n - 1)).count();
        assert!((28..=36).contains(&begins), "{seed}: {begins} stretches of noise");
    }
}
