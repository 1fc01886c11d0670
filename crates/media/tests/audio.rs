//! What each end of a call hears.

mod common;

use common::{good, voice, Call};
use roomkit_media::codec::CodecSpec;
use roomkit_media::rng::Rng;
use roomkit_media::rtp::RtpHeader;
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{
    Chunk, Event, FrameKind, Output, Port, RtcpMode, Session, SessionConfig,
};
use roomkit_media::source::Policy;
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{Jitter, LinkConfig, Loss, Reorder};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// PCM as it is after G.711 µ-law and back.
fn through_g711(pcm: &[i16]) -> Vec<i16> {
    let spec = CodecSpec::PCMU;
    let (mut coded, mut decoded) = (vec![], vec![]);
    spec.encoder().encode(pcm, &mut coded);
    spec.decoder().decode(&coded, &mut decoded).unwrap();
    decoded
}

fn contains(heard: &[i16], said: &[i16]) -> bool {
    heard.windows(said.len()).any(|window| window == said)
}

#[test]
fn over_a_good_link_all_of_it_is_heard_sample_for_sample() {
    let mut call = Call::new(good(), 1, |_| {});
    let said = voice(16_000, 8000);
    call.a.play(1, said.clone(), 8000);
    call.run(Time::secs(4));
    assert!(contains(&call.b.heard(), &through_g711(&said)));
    assert_eq!(call.b.count(FrameKind::Concealed), 5, "only the 100 ms after the end");
    assert_eq!(call.a.frames.len(), 0, "b said nothing");
}

#[test]
fn l16_is_heard_bit_for_bit_at_every_rate_and_in_stereo() {
    for (rate, channels) in
        [(8000, 1), (16_000, 1), (24_000, 1), (48_000, 1), (44_100, 1), (44_100, 2)]
    {
        let spec = CodecSpec::l16(97, rate, channels);
        let mut call = Call::new(good(), 1, |config| {
            config.send_codec = spec;
            config.receive_codecs = vec![spec];
            config.sample_rate = rate;
            config.channels = channels;
        });
        let said = voice(rate as usize * usize::from(channels), rate);
        let chunk = Chunk {
            playback: 1,
            pcm: said.clone(),
            sample_rate: rate,
            channels,
            last: true,
            live: false,
            marks: vec![],
        };
        call.a.session.play(chunk).unwrap();
        call.run(Time::secs(2));
        assert!(contains(&call.b.heard(), &said), "{rate} Hz, {channels} channels");
    }
}

#[test]
fn a_minute_of_a_lossy_call_is_the_same_twice_bit_for_bit() {
    let run = || {
        let link = LinkConfig {
            delay: MS(50),
            jitter: Jitter::Exponential(MS(8)),
            loss: Loss::bursts(0.05, 2.0),
            reorder: Some(Reorder { probability: 0.02, extra: MS(40) }),
            duplicate: 0.01,
            ..LinkConfig::default()
        };
        let mut call = Call::new(link, 99, |_| {});
        call.a.play(1, voice(60 * 8000, 8000), 8000);
        call.b.play(1, voice(60 * 8000, 8000), 8000);
        call.run(Time::secs(61));
        (call.a.frames, call.b.frames, call.a.session.stats(), call.a.sent.len())
    };
    let (first, second) = (run(), run());
    assert!(first == second);
    assert!(first.2.frames_concealed > 50, "the link did lose: {:?}", first.2);
}

#[test]
fn samples_delivered_are_elapsed_time_times_rate_whatever_the_network_does() {
    for (seed, loss, jitter) in [(1, 0.0, 0), (2, 0.2, 20), (3, 0.05, 60), (4, 0.5, 5)] {
        let link = LinkConfig {
            delay: MS(30),
            jitter: Jitter::Uniform(MS(jitter)),
            loss: Loss::Random(loss),
            reorder: Some(Reorder { probability: 0.1, extra: MS(60) }),
            duplicate: 0.1,
            ..LinkConfig::default()
        };
        let mut call = Call::new(link, seed, |_| {});
        call.a.play(1, voice(20 * 8000, 8000), 8000);
        call.run(Time::secs(1));
        let (from, start) = (call.now, call.b.frames.len());
        call.run(Time::secs(15));
        let elapsed_frames = (call.now - from).as_millis() as usize / 20;
        let frames = call.b.frames.len() - start;
        assert!(frames.abs_diff(elapsed_frames) <= 1, "seed {seed}: {frames} of {elapsed_frames}");
        for pair in call.b.frames.windows(2) {
            assert_eq!(pair[1].timestamp - pair[0].timestamp, MS(20), "contiguous in media time");
        }
        assert!(call.b.frames.iter().all(|frame| frame.pcm.len() == 160));
    }
}

#[test]
fn one_lost_packet_costs_one_frame_and_adds_no_delay() {
    let mut call = Call::new(good(), 3, |_| {});
    call.a.play(1, voice(32_000, 8000), 8000);
    call.run(Time::secs(1));
    let lossless = call.b.count(FrameKind::Concealed);
    // Exactly one packet goes.
    call.a_to_b.reconfigure(LinkConfig { loss: Loss::Random(1.0), ..good() });
    call.run(Time::ms(1020));
    call.a_to_b.reconfigure(good());
    call.run(Time::ms(3900));
    assert_eq!(call.b.session.stats().packets_lost, 1);
    assert_eq!(call.b.count(FrameKind::Concealed) - lossless, 1);
    assert_eq!(call.b.session.stats().late, 0);
}

#[test]
fn after_a_burst_of_delay_the_delay_returns_to_the_target() {
    let mut call = Call::new(good(), 5, |_| {});
    call.a.play(1, voice(30 * 8000, 8000), 8000);
    call.run(Time::secs(2));
    let before = call.b.session.stats().buffered;
    // For two seconds the path takes 300 ms longer, then it is as it was.
    call.a_to_b.reconfigure(LinkConfig { delay: MS(340), ..good() });
    call.run(Time::secs(4));
    call.a_to_b.reconfigure(good());
    call.run(Time::ms(4500));
    let burst = call.b.session.stats().buffered;
    call.run(Time::secs(14));
    let after = call.b.session.stats().buffered;
    assert!(burst >= before + MS(200), "{before:?} {burst:?}");
    assert!(after <= before + MS(20), "{before:?} {burst:?} {after:?}");
    assert_eq!(call.b.session.stats().packets_lost, 0);
}

#[test]
fn a_sender_clock_that_drifts_neither_starves_nor_fills_the_buffer() {
    for ppm in [-200i64, 200] {
        let mut config = SessionConfig::pcmu(Some("192.0.2.1:10000".parse().unwrap()));
        config.rtcp = RtcpMode::Off;
        let mut session = Session::new(config, Time::ZERO, 1).unwrap();
        let from = "192.0.2.1:10000".parse().unwrap();
        let mut frames = 0u64;
        let mut packet = 0u64;
        let sent_at =
            |n: u64| Time::ns((n * 20_000_000).saturating_add_signed(-(n as i64) * 20 * ppm));
        let end = Time::secs(600);
        while session.deadline() < end {
            let due = session.deadline();
            while sent_at(packet) <= due {
                let mut bytes = vec![];
                RtpHeader {
                    marker: packet == 0,
                    payload_type: 0,
                    seq: SeqNo(packet as u16),
                    timestamp: RtpTime((packet * 160) as u32),
                    ssrc: Ssrc(5),
                }
                .write(&mut bytes);
                bytes.extend([0x80; 160]);
                session.receive(sent_at(packet), from, Port::Rtp, &bytes);
                packet += 1;
            }
            session.handle_deadline(due);
            while let Some(output) = session.poll() {
                frames += u64::from(matches!(output, Output::Frame(_)));
            }
        }
        let stats = session.stats();
        assert!(stats.buffered <= MS(120), "{ppm} ppm: {stats:?}");
        // Ten minutes at 200 ppm are 120 ms: six frames or so too many or too few.
        assert!(stats.late <= 12, "{ppm} ppm: {stats:?}");
        assert!(stats.frames_concealed + stats.frames_given_back <= 30, "{ppm} ppm: {stats:?}");
        assert!(frames > 29_900);
    }
}

#[test]
fn rfc3551_4_1_marker_on_the_first_packet_of_a_talkspurt_and_time_runs_on_through_silence() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(320, 8000), 8000);
    call.run(Time::secs(1));
    call.a.play(2, voice(480, 8000), 8000);
    call.run(Time::secs(2));
    let sent = call.a.rtp();
    let markers: Vec<bool> = sent.iter().map(|p| p.1).collect();
    assert_eq!(markers, [true, false, true, false, false]);
    let first = &sent[0];
    for packet in &sent {
        let elapsed_ms = (packet.0 - first.0).as_millis() as u32;
        assert_eq!(packet.4.wrapping_sub(first.4), elapsed_ms * 8, "timestamp follows the clock");
    }
    let seqs: Vec<u16> = sent.iter().map(|p| p.3.wrapping_sub(first.3)).collect();
    assert_eq!(seqs, [0, 1, 2, 3, 4], "the sequence does not advance in silence");
}

#[test]
fn fifty_packets_a_second_leave_and_never_two_at_once() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(40_000, 8000), 8000);
    call.run(Time::secs(6));
    let sent = call.a.rtp();
    assert_eq!(sent.len(), 250);
    assert!(sent.windows(2).all(|pair| pair[1].0 - pair[0].0 == MS(20)));
}

#[test]
fn a_late_wake_neither_bursts_nor_drifts() {
    for (late_ms, packets_at_once, skipped) in [(19, 1, 0), (45, 3, 0), (130, 1, 6)] {
        let mut call = Call::new(good(), 1, |_| {});
        call.a.play(1, voice(40_000, 8000), 8000);
        call.run(Time::ms(101));
        let before = call.a.rtp().len();
        let due = call.a.session.deadline();
        call.now = due + MS(late_ms);
        call.a.session.handle_deadline(call.now);
        call.drain();
        assert_eq!(call.a.rtp().len() - before, packets_at_once, "{late_ms} ms late");
        assert_eq!(call.a.session.stats().frames_skipped, skipped, "{late_ms} ms late");
        let next = call.a.session.deadline();
        assert!(next > call.now && next - call.now <= MS(20));
        assert_eq!((next - Time::ZERO).as_millis() % 20, 0, "the grid stands");
        // The timestamp still tells the time.
        call.run(Time::secs(1));
        let sent = call.a.rtp();
        let (first, last) = (&sent[0], &sent[sent.len() - 1]);
        let elapsed_ms = (last.0 - first.0).as_millis() as u32;
        assert_eq!(last.4.wrapping_sub(first.4), elapsed_ms * 8);
    }
}

#[test]
fn after_the_machine_slept_for_an_hour_the_call_goes_on_with_one_frame() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(40_000, 8000), 8000);
    call.b.play(1, voice(40_000, 8000), 8000);
    call.run(Time::secs(1));
    let (frames, sent) = (call.a.frames.len(), call.a.rtp().len());
    call.now = Time::secs(3601);
    call.a.session.handle_deadline(call.now);
    call.drain();
    assert_eq!(call.a.rtp().len(), sent + 1);
    assert_eq!(call.a.frames.len(), frames + 1);
    let slept = call.a.frames[frames].timestamp - call.a.frames[frames - 1].timestamp;
    assert!(slept > Duration::from_secs(3599), "{slept:?}");
}

#[test]
fn from_interrupt_to_silence_is_at_most_one_frame_whatever_is_queued() {
    for seconds in [1, 60, 600] {
        let mut call = Call::new(good(), 1, |_| {});
        call.a.play(1, vec![1000; seconds * 8000], 8000);
        call.run(Time::ms(511));
        call.a.session.cancel(1);
        call.drain();
        let before = call.a.rtp().len();
        call.run(Time::secs(2));
        assert_eq!(call.a.rtp().len(), before, "not one more packet");
        let (_, ended) = call.a.events.last().unwrap();
        let played = MS(520);
        assert_eq!(*ended, Event::PlaybackEnded { playback: 1, played, cancelled: true });
    }
}

#[test]
fn speech_of_another_rate_keeps_its_speed() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(16_000, 16_000), 16_000);
    call.run(Time::secs(3));
    assert_eq!(call.a.rtp().len(), 50);
}

#[test]
fn the_last_speech_before_a_pause_is_heard_at_once() {
    let mut call = Call::new(good(), 1, |_| {});
    let said = voice(1600, 8000);
    call.a.play(1, said.clone(), 8000);
    // 200 ms of speech, 40 ms of link, 60 ms of buffer, and the grid.
    call.run(Time::ms(200 + 40 + 60 + 40));
    assert!(contains(&call.b.heard(), &through_g711(&said)));
}

#[test]
fn a_pause_is_silence_and_not_an_endless_loss() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(8000, 8000), 8000);
    call.run(Time::secs(4));
    call.a.play(2, voice(8000, 8000), 8000);
    call.run(Time::ms(5100));
    assert_eq!(call.b.session.stats().packets_lost, 0);
    let kinds: Vec<FrameKind> = call.b.frames.iter().map(|f| f.kind).collect();
    let silence = kinds.iter().filter(|k| **k == FrameKind::Silence).count();
    assert!((130..=150).contains(&silence), "3 s of pause: {silence} frames");
    assert!(call.b.count(FrameKind::Concealed) <= 10);
}

#[test]
fn packets_of_any_length_are_delivered_in_frames_of_the_sessions_length() {
    for ptime in [10, 30, 40, 60] {
        let said = voice(16_000, 8000);
        let mut call = Call::between(good(), 1, |config| config.ptime = MS(ptime), |_| {});
        call.a.play(1, said.clone(), 8000);
        call.run(Time::secs(3));
        assert!(call.b.frames.iter().all(|frame| frame.pcm.len() == 160));
        let mut whole = said;
        whole.truncate(15_360);
        assert!(contains(&call.b.heard(), &through_g711(&whole)), "{ptime} ms");
    }
}

#[test]
fn timestamps_and_sequence_numbers_wrap_without_a_glitch() {
    // A session draws its SSRC, first sequence number and first timestamp from its seed: look for calls that wrap.
    let starts_at = |seed: u64| {
        let mut rng = Rng::new(seed * 4 + 1);
        rng.next_u32();
        (rng.next_u16(), rng.next_u32())
    };
    let seq_wraps = (0..).find(|&seed| starts_at(seed).0 > u16::MAX - 500).unwrap();
    let time_wraps = (0..).find(|&seed| starts_at(seed).1 > u32::MAX - 80_000).unwrap();
    for seed in [seq_wraps, time_wraps] {
        let mut call = Call::new(good(), seed, |_| {});
        let said = voice(15 * 8000, 8000);
        call.a.play(1, said.clone(), 8000);
        call.run(Time::secs(16));
        let sent = call.a.rtp();
        let (first, last) = (&sent[0], &sent[sent.len() - 1]);
        assert!(last.3 < first.3 || last.4 < first.4, "the call was to wrap");
        assert!(contains(&call.b.heard(), &through_g711(&said)), "seed {seed}");
        let stats = call.b.session.stats();
        assert_eq!((stats.packets_lost, stats.late, stats.source_changes), (0, 0, 0));
        assert!(stats.jitter < MS(1), "{stats:?}");
    }
}

#[test]
fn a_change_of_codec_in_the_middle_of_a_call_is_followed() {
    let wide = CodecSpec::l16(97, 16_000, 1);
    let mut config = SessionConfig::pcmu(Some(common::A.parse().unwrap()));
    config.receive_codecs.push(wide);
    let mut session = Session::new(config, Time::ZERO, 1).unwrap();
    let tone = |rate: u32, n: usize| -> Vec<i16> {
        let start = n * rate as usize / 50;
        let sample = |i: usize| (i as f64 * 440.0 * core::f64::consts::TAU / f64::from(rate)).sin();
        (start..start + rate as usize / 50).map(|i| (8000.0 * sample(i)) as i16).collect()
    };
    let mut heard = vec![];
    for n in 0..160usize {
        let now = Time::ms(20 * n as u64);
        let spec = [CodecSpec::PCMU, CodecSpec::PCMA, wide, CodecSpec::PCMU][n / 40];
        let mut bytes = vec![];
        RtpHeader {
            marker: false,
            payload_type: spec.payload_type,
            seq: SeqNo(n as u16),
            timestamp: RtpTime((n as u32) * spec.clock_rate / 50),
            ssrc: Ssrc(1),
        }
        .write(&mut bytes);
        spec.encoder().encode(&tone(spec.sample_rate, n), &mut bytes);
        session.receive(now, common::A.parse().unwrap(), Port::Rtp, &bytes);
        session.handle_deadline(now);
        while let Some(output) = session.poll() {
            if let Output::Frame(frame) = output {
                assert_eq!(frame.pcm.len(), 160);
                heard.push(frame);
            }
        }
    }
    let level = |frame: &roomkit_media::session::Frame| {
        let sum: f64 = frame.pcm.iter().map(|s| f64::from(*s).powi(2)).sum();
        (sum / 160.0).sqrt()
    };
    let loud = heard.iter().filter(|frame| (5200.0..6100.0).contains(&level(frame))).count();
    assert!(loud >= 145, "{loud} of {} frames carry the tone", heard.len());
    assert_eq!(session.stats().undecodable, 0);
}

#[test]
fn while_muted_frames_are_silence_and_the_timeline_goes_on() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(24_000, 8000), 8000);
    call.run(Time::secs(1));
    call.b.session.set_input_muted(true);
    let (from, digits) = (call.b.frames.len(), call.b.digits());
    call.run(Time::secs(2));
    call.b.session.set_input_muted(false);
    let muted = &call.b.frames[from..];
    assert!(muted.len() >= 49);
    assert!(muted.iter().all(|f| f.kind == FrameKind::Silence && f.pcm.iter().all(|s| *s == 0)));
    call.run(Time::secs(3));
    assert_eq!(call.b.frames.last().unwrap().kind, FrameKind::Received);
    assert!(call.b.frames.windows(2).all(|p| p[1].timestamp - p[0].timestamp == MS(20)));
    assert_eq!(digits, call.b.digits());
}

#[test]
fn a_pause_is_counted_as_silence_and_a_loss_as_concealed() {
    let mut call = Call::new(good(), 1, |_| {});
    for n in 1..=5 {
        call.a.play(n, voice(8000, 8000), 8000);
        call.run(Time::secs(2 * n));
    }
    assert_eq!(call.b.session.stats().frames_concealed, 0);
    // Four packets in the middle of speech.
    call.a.play(6, voice(16_000, 8000), 8000);
    call.run(Time::ms(10_500));
    call.a_to_b.reconfigure(LinkConfig { loss: Loss::Random(1.0), ..good() });
    call.run(Time::ms(10_580));
    call.a_to_b.reconfigure(good());
    call.run(Time::secs(13));
    let stats = call.b.session.stats();
    assert_eq!((stats.packets_lost, stats.frames_concealed), (4, 4));
}

#[test]
fn delay_is_given_back_where_it_is_quiet() {
    // Whoever must prove itself speaks before it is believed, so its first words come with more delay than needed.
    let mut call = Call::new(good(), 1, |config| config.policy = Policy::Learn);
    call.b.session.retarget(call.now, "203.0.113.1:9".parse().unwrap());
    let mut said = vec![];
    for _ in 0..4 {
        said.extend(voice(8000, 8000).iter().map(|s| s.saturating_add(2000)));
        said.extend([0; 1600]);
    }
    call.a.play(1, said, 8000);
    let mut given_back = 0;
    while call.now < Time::ms(4900) {
        call.run(call.now + MS(20));
        let stats = call.b.session.stats();
        if stats.frames_given_back > given_back {
            given_back = stats.frames_given_back;
            let loudest = call.b.frames.last().unwrap().pcm.iter().map(|s| s.unsigned_abs()).max();
            assert!(loudest < Some(2100), "given back in the middle of a word: {loudest:?}");
        }
    }
    assert!(given_back > 0, "there was delay to give back");
}

#[test]
fn where_it_is_never_quiet_delay_is_given_back_within_three_seconds_and_by_a_third_at_most() {
    let mut call = Call::new(good(), 1, |_| {});
    let tone = |n: usize| (9000.0 * (n as f64 * 0.31).sin()) as i16;
    call.a.play(1, (0..20 * 8000).map(tone).collect(), 8000);
    call.run(Time::secs(2));
    // The network stalls for 300 ms.
    call.a_to_b.reconfigure(LinkConfig { delay: MS(340), ..good() });
    call.run(Time::ms(2020));
    call.a_to_b.reconfigure(good());
    let mut given_back = vec![];
    while call.now < Time::secs(15) {
        call.run(call.now + MS(20));
        let count = call.b.session.stats().frames_given_back as usize;
        assert!(count <= given_back.len() + 1);
        given_back.resize(count, call.now);
    }
    assert!(given_back.len() >= 5, "{given_back:?}");
    assert!(*given_back.last().unwrap() - Time::ms(2320) <= MS(3000), "{given_back:?}");
    assert!(given_back.windows(2).all(|pair| pair[1] - pair[0] >= MS(60)), "{given_back:?}");
    assert!(call.b.session.stats().buffered <= MS(80), "{:?}", call.b.session.stats());
}
