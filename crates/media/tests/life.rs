//! The life of a call: hold, silence that means something, and the far end's end.

mod common;

use common::far::Far;
use common::{good, voice, Call, A, B};
use roomkit_media::codec::CodecSpec;
use roomkit_media::dtmf::Digit;
use roomkit_media::rtp::is_rtcp;
use roomkit_media::session::{Chunk, Direction, Event, FrameKind, Port, RtcpMode, SessionConfig};
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{LinkConfig, Loss};

const SECS: fn(u64) -> Duration = Duration::from_secs;

/// What b is told of it, here in the middle of the call.
fn turn(call: &mut Call, to: Direction, change: impl Fn(&mut SessionConfig)) {
    let mut config = SessionConfig::pcmu(Some(A.parse().unwrap()));
    config.cname = B.into();
    config.direction = to;
    change(&mut config);
    call.b.session.update(call.now, &config).unwrap();
}

fn times(call: &Call, wanted: &Event) -> Vec<u64> {
    let told = call.b.events.iter().filter(|(_, event)| event == wanted);
    told.map(|(at, _)| (*at - Time::ZERO).as_secs()).collect()
}

/// Ten seconds of speech from a.
fn talk(call: &mut Call, playback: u64) {
    call.a.play(playback, voice(80_000, 8000), 8000);
}

#[test]
fn on_hold_the_silence_of_the_far_end_may_last_longer() {
    for direction in [Direction::SendOnly, Direction::RecvOnly, Direction::Inactive] {
        let silent = |c: &mut SessionConfig| {
            (c.rtcp, c.keepalive) = (RtcpMode::Off, None);
        };
        let mut call = Call::new(good(), 1, silent);
        talk(&mut call, 1);
        call.run(Time::secs(20));
        turn(&mut call, direction, silent);
        call.run(Time::secs(310));
        assert_eq!(times(&call, &Event::RtpTimeout), [], "{direction:?}");
        call.run(Time::secs(400));
        assert_eq!(times(&call, &Event::RtpTimeout), [320], "300 s from the hold: {direction:?}");
    }
}

#[test]
fn a_call_that_began_one_way_is_not_on_hold() {
    for (direction, timeout) in [(Direction::RecvOnly, 30), (Direction::Inactive, 300)] {
        let mut call = Call::new(good(), 1, |c| {
            (c.rtcp, c.keepalive, c.direction) = (RtcpMode::Off, None, direction);
        });
        call.run(Time::secs(400));
        assert_eq!(times(&call, &Event::RtpTimeout), [timeout], "{direction:?}");
    }
}

#[test]
fn on_hold_reports_of_the_far_end_are_a_sign_of_life() {
    let mut call = Call::new(good(), 1, |c| c.keepalive = None);
    talk(&mut call, 1);
    call.run(Time::secs(20));
    turn(&mut call, Direction::Inactive, |_| {});
    call.run(Time::secs(1000));
    assert_eq!(times(&call, &Event::RtpTimeout), [], "RTCP goes on");
    call.a_to_b.reconfigure(LinkConfig { loss: Loss::Random(1.0), ..good() });
    call.run(Time::secs(1400));
    let told = times(&call, &Event::RtpTimeout);
    assert!(told.len() == 1 && (1290..=1301).contains(&told[0]), "{told:?}");
}

#[test]
fn whoever_is_taken_off_hold_has_the_usual_time_to_begin() {
    let silent = |c: &mut SessionConfig| (c.rtcp, c.keepalive) = (RtcpMode::Off, None);
    let mut call = Call::new(good(), 1, silent);
    talk(&mut call, 1);
    call.run(Time::secs(20));
    turn(&mut call, Direction::SendOnly, silent);
    call.run(Time::secs(200));
    turn(&mut call, Direction::SendRecv, silent);
    call.run(Time::secs(300));
    assert_eq!(times(&call, &Event::RtpTimeout), [230]);
}

#[test]
fn a_hold_without_a_limit_lasts_for_ever() {
    let silent = |c: &mut SessionConfig| {
        (c.rtcp, c.keepalive, c.rtp_timeout_on_hold) = (RtcpMode::Off, None, None);
    };
    let mut call = Call::new(good(), 1, silent);
    talk(&mut call, 1);
    call.run(Time::secs(20));
    turn(&mut call, Direction::SendOnly, silent);
    call.run(Time::secs(2000));
    assert_eq!(times(&call, &Event::RtpTimeout), []);
}

#[test]
fn rfc3264_8_4_what_comes_although_we_do_not_receive_is_counted_and_not_heard() {
    for direction in [Direction::SendOnly, Direction::Inactive] {
        let mut call = Call::new(good(), 1, |_| {});
        talk(&mut call, 1);
        call.run(Time::secs(3));
        turn(&mut call, direction, |_| {});
        let frames = call.b.frames.len();
        call.a.session.send_dtmf(Digit::parse('5').unwrap(), Duration::from_millis(200)).unwrap();
        call.run(Time::secs(6));
        // Frames go on, so that nothing gets out of step: what had come, its fading out, and then silence.
        let held = &call.b.frames[frames..];
        assert!((149..=151).contains(&held.len()));
        assert!(held[10..].iter().all(|frame| frame.kind == FrameKind::Silence));
        assert!(held[10..].iter().all(|frame| frame.pcm.iter().all(|sample| *sample == 0)));
        assert_eq!(call.b.digits(), "");
        let stats = call.b.session.stats();
        assert!((145..=175).contains(&stats.unwanted), "{}", stats.unwanted);
        assert_eq!((stats.packets_lost, stats.unknown_payload_type), (0, 0));
        assert!(stats.packets_received >= 295, "RTCP still tells what arrives");
    }
}

#[test]
fn after_a_hold_speech_is_heard_with_the_usual_delay_and_the_hold_was_no_loss() {
    for moh in [false, true] {
        let mut call = Call::new(good(), 1, |_| {});
        talk(&mut call, 1);
        call.run(Time::secs(5));
        turn(&mut call, Direction::SendOnly, |_| {});
        if !moh {
            call.a.session.cancel(1);
            call.drain();
        }
        call.run(Time::secs(8));
        turn(&mut call, Direction::SendRecv, |_| {});
        if !moh {
            talk(&mut call, 2);
        }
        let before = call.b.session.stats();
        let frames = call.b.frames.len();
        call.run(Time::secs(9));
        let stats = call.b.session.stats();
        assert!(stats.frames_received - before.frames_received >= 42, "{moh}: {stats:?}");
        assert!(stats.buffered <= Duration::from_millis(100));
        assert_eq!((stats.packets_lost, stats.late), (0, 0));
        let first = call.b.frames[frames..].iter().position(|f| f.kind == FrameKind::Received);
        assert!(first.is_some_and(|n| n <= 8), "{moh}: {first:?}");
    }
}

#[test]
fn a_far_end_whose_clock_stood_still_on_hold_is_heard_after_it() {
    let mut far = Far::new(8, |_| {});
    far.talk(0, 10);
    far.run(300);
    let mut config = SessionConfig::pcmu(Some(A.parse().unwrap()));
    config.direction = Direction::SendOnly;
    far.session.update(Time::ms(300), &config).unwrap();
    // It sends regardless, six seconds under one timestamp.
    for n in 0..300 {
        far.send_late(200, 300 + 20 * n, 0, &[0xff; 160]);
    }
    config.direction = Direction::SendRecv;
    far.session.update(Time::ms(6300), &config).unwrap();
    let heard = far.count(FrameKind::Received);
    for n in 0..25 {
        far.send_late(220 + 20 * n, 6320 + 20 * n, 0, &[0x2a; 160]);
    }
    far.run(6320 + 500 + 60);
    assert_eq!(far.count(FrameKind::Received) - heard, 25, "{:?}", far.session.stats());
    assert_eq!(far.session.stats().late, 0);
}

#[test]
fn on_hold_rtcp_goes_on_and_no_audio_or_digit_leaves() {
    let mut call = Call::new(good(), 1, |c| c.keepalive = None);
    call.b.play(1, voice(80_000, 8000), 8000);
    call.run(Time::secs(5));
    turn(&mut call, Direction::Inactive, |c| c.keepalive = None);
    call.b.session.send_dtmf(Digit::parse('1').unwrap(), Duration::from_millis(100)).unwrap();
    let (rtp, rtcp) = (call.b.rtp().len(), call.b.rtcp().len());
    call.run(Time::secs(60));
    assert_eq!(call.b.rtp().len(), rtp);
    assert!((8..=16).contains(&(call.b.rtcp().len() - rtcp)), "{}", call.b.rtcp().len() - rtcp);
    let played = call.b.session.position();
    assert_eq!(played.map(|(id, at)| (id, at.as_secs())), Some((1, 5)), "the playback waits");
    turn(&mut call, Direction::SendRecv, |_| {});
    call.run(Time::secs(70));
    assert!(call.b.events.iter().any(|(_, event)| matches!(
        event,
        Event::PlaybackEnded { playback: 1, cancelled: false, played } if *played == SECS(10)
    )));
    assert_eq!(call.a.digits(), "1");
}

#[test]
fn live_audio_passes_while_on_hold_and_what_is_heard_afterwards_is_of_the_moment() {
    let mut call = Call::new(good(), 1, |_| {});
    // Frames whose value is their number, forwarded as they come.
    let live = |call: &mut Call, n: i16| {
        let pcm = vec![n * 100; 160];
        let (playback, last) = (1, n == 200);
        let chunk = Chunk {
            playback,
            pcm,
            sample_rate: 8000,
            channels: 1,
            last,
            live: true,
            marks: vec![],
        };
        call.b.session.play(chunk).unwrap();
        call.run(Time::ms(20 * n as u64));
    };
    (1..=50).for_each(|n| live(&mut call, n));
    turn(&mut call, Direction::Inactive, |_| {});
    let sent = call.b.rtp().len();
    (51..=100).for_each(|n| live(&mut call, n));
    assert_eq!(call.b.rtp().len(), sent);
    assert!(call.b.session.queued() <= Duration::from_millis(40), "{:?}", call.b.session.queued());
    turn(&mut call, Direction::SendRecv, |_| {});
    (101..=200).for_each(|n| live(&mut call, n));
    call.run(Time::secs(5));
    let after = &call.b.rtp()[sent..];
    assert!((99..=102).contains(&after.len()), "{}", after.len());
    let mut pcm = vec![];
    CodecSpec::PCMU.decoder().decode(&after[0].5, &mut pcm).unwrap();
    assert!((9_500..=10_500).contains(&pcm[80]), "frame 100 or so: {}", pcm[80]);
    let ended = call.b.events.iter().filter(|(_, e)| matches!(e, Event::PlaybackEnded { .. }));
    assert_eq!(ended.count(), 1);
}

#[test]
fn live_audio_that_ends_on_hold_has_ended() {
    let mut call = Call::new(good(), 1, |_| {});
    turn(&mut call, Direction::Inactive, |_| {});
    let pcm = vec![100; 400];
    let chunk = Chunk {
        playback: 1,
        pcm,
        sample_rate: 8000,
        channels: 1,
        last: true,
        live: true,
        marks: vec![],
    };
    call.b.session.play(chunk).unwrap();
    call.run(Time::secs(1));
    let ended = Event::PlaybackEnded { playback: 1, played: Duration::ZERO, cancelled: false };
    assert_eq!(call.b.events.iter().map(|(_, e)| e.clone()).collect::<Vec<_>>(), [ended]);
    assert!(call.b.session.is_idle());
}

#[test]
fn an_interruption_while_on_hold_is_told_at_once_and_nothing_of_it_is_heard_afterwards() {
    let mut call = Call::new(good(), 1, |_| {});
    call.b.play(1, voice(80_000, 8000), 8000);
    call.run(Time::secs(2));
    turn(&mut call, Direction::Inactive, |_| {});
    call.run(Time::secs(3));
    call.b.session.cancel(1);
    call.drain();
    assert!(matches!(
        call.b.events.last(),
        Some((_, Event::PlaybackEnded { playback: 1, cancelled: true, .. }))
    ));
    let sent = call.b.rtp().len();
    turn(&mut call, Direction::SendRecv, |_| {});
    call.run(Time::secs(4));
    assert_eq!(call.b.rtp().len(), sent);
}

#[test]
fn a_hold_ends_the_far_ends_noise() {
    let mut call =
        Call::between(good(), 1, |c| c.fill = roomkit_media::session::Fill::ComfortNoise, |_| {});
    call.run(Time::secs(2));
    assert_eq!(call.b.frames.last().unwrap().kind, FrameKind::ComfortNoise);
    turn(&mut call, Direction::SendOnly, |_| {});
    call.run(Time::secs(4));
    assert_eq!(call.b.frames.last().unwrap().kind, FrameKind::Silence);
}

#[test]
fn reports_that_stop_are_told_once_and_only_where_there_were_any() {
    let change = |c: &mut SessionConfig| {
        (c.rtcp_timeout, c.rtp_timeout) = (Some(SECS(20)), None);
    };
    let mut call = Call::new(good(), 1, change);
    call.run(Time::secs(60));
    assert_eq!(times(&call, &Event::RtcpTimeout), []);
    // The way is blocked for RTCP and all else.
    call.a_to_b.reconfigure(LinkConfig { loss: Loss::Random(1.0), ..good() });
    call.run(Time::secs(200));
    let told = times(&call, &Event::RtcpTimeout);
    assert!(told.len() == 1 && (70..=80).contains(&told[0]), "{told:?}");
    call.a_to_b.reconfigure(good());
    call.run(Time::secs(220));
    assert_eq!(times(&call, &Event::RtpResumed).len(), 1);
    // Without any RTCP ever.
    let mut call =
        Call::between(good(), 1, |c| c.rtcp = RtcpMode::Off, |c| c.rtcp_timeout = Some(SECS(20)));
    talk(&mut call, 1);
    call.run(Time::secs(60));
    assert_eq!(times(&call, &Event::RtcpTimeout), []);
}

#[test]
fn who_is_gone_is_told_once_whatever_stopped_and_so_is_the_return() {
    for (rtp, rtcp) in [(10, 20), (20, 10)] {
        let change = |c: &mut SessionConfig| {
            (c.rtcp_timeout, c.rtp_timeout) = (Some(SECS(rtcp)), Some(SECS(rtp)));
        };
        let mut call = Call::new(good(), 1, change);
        call.a.play(1, voice(400_000, 8000), 8000);
        call.run(Time::secs(20));
        call.a_to_b.reconfigure(LinkConfig { loss: Loss::Random(1.0), ..good() });
        call.run(Time::secs(45));
        call.a_to_b.reconfigure(good());
        call.run(Time::secs(50));
        let gone = |e: &&Event| matches!(e, Event::RtpTimeout | Event::RtcpTimeout);
        let told: Vec<&Event> = call.b.events.iter().map(|(_, e)| e).filter(gone).collect();
        let first = if rtp < rtcp { Event::RtpTimeout } else { Event::RtcpTimeout };
        assert_eq!(told, [&first]);
        assert_eq!(times(&call, &Event::RtpResumed), [45]);
    }
}

#[test]
fn rfc3550_8_2_a_source_that_says_goodbye_and_goes_on_as_another_is_not_gone() {
    let mut call = Call::new(good(), 1, |_| {});
    talk(&mut call, 1);
    call.run(Time::secs(2));
    // Somebody at b's host uses a's SSRC: a leaves under the old one and goes on under a new one.
    let mut report = vec![];
    let ssrc = call.a.session.ssrc();
    roomkit_media::rtcp::write_compound(&mut report, ssrc, None, &[], "x", &[], None);
    let from = common::B.parse().unwrap();
    call.a.session.receive(call.now, from, Port::Rtcp, &report);
    call.drain();
    assert_ne!(call.a.session.ssrc(), ssrc);
    call.run(Time::secs(9));
    let told: Vec<&Event> = call.b.events.iter().map(|(_, event)| event).collect();
    assert!(!told.iter().any(|event| matches!(event, Event::RemoteBye { .. })), "{told:?}");
    assert!(matches!(told.last(), Some(Event::SourceChanged { .. })), "{told:?}");
}

#[test]
fn after_a_goodbye_the_silence_is_not_told_as_well() {
    let mut call = Call::new(good(), 1, |_| {});
    talk(&mut call, 1);
    call.run(Time::secs(5));
    call.a.session.close(call.now, "done");
    call.drain();
    call.run(Time::secs(400));
    let gone: Vec<&Event> = call
        .b
        .events
        .iter()
        .map(|(_, event)| event)
        .filter(|event| matches!(event, Event::RemoteBye { .. } | Event::RtpTimeout))
        .collect();
    assert_eq!(gone, [&Event::RemoteBye { reason: "done".into() }]);
    assert_eq!(times(&call, &Event::RtpResumed), []);
}

#[test]
fn a_packet_that_a_goodbye_overtook_is_no_return_and_one_that_comes_later_is() {
    let mut call = Call::new(good(), 1, |_| {});
    talk(&mut call, 1);
    call.run(Time::secs(5));
    call.a.session.close(call.now, "done");
    call.drain();
    call.run(Time::ms(5300));
    assert_eq!(times(&call, &Event::RemoteBye { reason: "done".into() }), [5]);
    let sent = call.a.sent.iter().rev().find(|(_, datagram)| datagram.port == Port::Rtp);
    let straggler = sent.unwrap().1.bytes.clone();
    let mut come = |at: u64| {
        call.run(Time::ms(at));
        call.b.session.receive(call.now, A.parse().unwrap(), Port::Rtp, &straggler);
        call.drain();
        times(&call, &Event::RtpResumed)
    };
    assert_eq!(come(5400), []);
    assert_eq!(come(7000), [7]);
}

#[test]
fn rtcp_on_hold_says_that_we_do_not_send() {
    let mut call = Call::new(good(), 1, |c| c.keepalive = None);
    call.b.play(1, voice(8000, 8000), 8000);
    call.run(Time::secs(10));
    turn(&mut call, Direction::Inactive, |c| c.keepalive = None);
    call.run(Time::secs(60));
    let last = &call.b.rtcp().last().unwrap().1.clone();
    assert!(is_rtcp(last));
    assert_eq!(last[1], 201, "a receiver report (RFC 3550 §6.4)");
}
