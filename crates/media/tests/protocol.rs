//! What the two ends of a call say to one another beside audio: digits, reports, goodbyes; and who is believed.

mod common;

use common::{good, voice, Call, A};
use roomkit_media::dtmf::Digit;
use roomkit_media::rtcp::{parse_compound, RtcpPacket};
use roomkit_media::rtp::{RtpHeader, RtpPacket};
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{Event, Port, RtcpMode, Session, SessionConfig};
use roomkit_media::source::Policy;
use roomkit_media::stats::Stats;
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{LinkConfig, Loss, Reorder};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn dial(call: &mut Call, digits: &str) {
    for digit in digits.chars() {
        call.a.session.send_dtmf(Digit::parse(digit).unwrap(), MS(100)).unwrap();
    }
}

#[test]
fn digits_arrive_beside_audio_that_stays_whole() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(40_000, 8000), 8000);
    call.run(Time::ms(300));
    dial(&mut call, "1234567890*#ABCD");
    call.run(Time::secs(5));
    assert_eq!(call.b.digits(), "1234567890*#ABCD");
    let stats = call.b.session.stats();
    assert_eq!((stats.frames_concealed, stats.packets_lost, stats.late), (0, 0, 0));
}

#[test]
fn digits_are_exact_on_a_link_that_loses_a_fifth_and_reorders() {
    for seed in 0..200 {
        let link = LinkConfig {
            delay: MS(40),
            loss: Loss::Random(0.2),
            reorder: Some(Reorder { probability: 0.1, extra: MS(50) }),
            duplicate: 0.05,
            ..LinkConfig::default()
        };
        let mut call = Call::new(link, seed, |_| {});
        call.a.play(1, voice(24_000, 8000), 8000);
        // The source has proved itself by then, as in every call that has lasted a second.
        call.run(Time::secs(1));
        dial(&mut call, "1123#");
        call.run(Time::secs(4));
        assert_eq!(call.b.digits(), "1123#", "seed {seed}");
    }
}

#[test]
fn rfc4733_2_1_events_share_ssrc_and_sequence_and_keep_the_time_of_their_start() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(8000, 8000), 8000);
    call.run(Time::ms(200));
    dial(&mut call, "5");
    call.run(Time::secs(1));
    let sent = call.a.rtp();
    assert!(sent.windows(2).all(|p| p[1].3 == p[0].3.wrapping_add(1)), "one sequence");
    let events: Vec<_> = sent.iter().filter(|p| p.2 == 101).collect();
    let audio = sent.iter().find(|p| p.2 == 0 && p.4 == events[0].4);
    assert!(audio.is_some(), "the event starts at a frame's time");
    assert!(events.iter().all(|p| p.4 == events[0].4));
    assert!(events.windows(2).all(|p| p[1].0 - p[0].0 == MS(20)), "one a frame");
    assert_eq!(events.iter().filter(|p| p.1).count(), 1);
    assert!(events[0].1);
    let ends = events.iter().filter(|p| p.5[1] & 0x80 != 0).count();
    assert_eq!(ends, 3);
}

#[test]
fn dtmf_payloads_that_are_too_short_are_counted_and_dropped() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(8000, 8000), 8000);
    call.run(Time::ms(500));
    let last = call.a.sent.last().unwrap().1.clone();
    let packet = RtpPacket::parse(&last.bytes).unwrap();
    for len in 0..4u16 {
        let mut bytes = vec![];
        let seq = packet.seq.plus(1 + len);
        let (timestamp, ssrc) = (packet.timestamp, packet.ssrc);
        RtpHeader { marker: false, payload_type: 101, seq, timestamp, ssrc }.write(&mut bytes);
        bytes.resize(12 + usize::from(len), 1);
        call.b.session.receive(call.now, last.from, Port::Rtp, &bytes);
    }
    assert_eq!(call.b.session.stats().dtmf_invalid, 4);
    call.run(Time::secs(1));
    assert_eq!(call.b.digits(), "");
}

#[test]
fn rfc3550_a1_digits_of_a_source_that_restarts_at_an_earlier_time_are_heard() {
    let mut call = Call::new(good(), 1, |_| {});
    // A player of recordings: each with a sequence and a clock of its own, under one SSRC.
    for (nth, (key, seq, time)) in
        [(3, 12_080, 17_632), (3, 7_984, 13_280), (7, 60_000, 480)].into_iter().enumerate()
    {
        for n in 0..8u16 {
            let now = Time::ms(nth as u64 * 500 + u64::from(n) * 20);
            call.run(now);
            let (seq, timestamp) = (SeqNo(seq).plus(n), RtpTime(time));
            let mut bytes = vec![];
            RtpHeader { marker: n == 0, payload_type: 101, seq, timestamp, ssrc: Ssrc(7) }
                .write(&mut bytes);
            let [high, low] = (160 * (n + 1)).to_be_bytes();
            bytes.extend([key, if n == 7 { 0x8a } else { 0x0a }, high, low]);
            call.b.session.receive(now, A.parse().unwrap(), Port::Rtp, &bytes);
        }
    }
    call.run(Time::secs(3));
    assert_eq!(call.b.digits(), "337");
}

#[test]
fn rfc3550_6_1_every_compound_is_a_report_and_a_name() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(160_000, 8000), 8000);
    call.run(Time::secs(20));
    call.a.session.close(call.now, "done");
    call.drain();
    let compounds = call.a.rtcp();
    assert!((3..=8).contains(&compounds.len()), "{} in 20 s", compounds.len());
    for (n, (_, bytes)) in compounds.iter().enumerate() {
        let packets: Vec<_> = parse_compound(bytes).unwrap().into_iter().collect();
        assert!(matches!(packets[0], RtcpPacket::SenderReport { .. }));
        assert!(matches!(packets[1], RtcpPacket::Sdes { .. }));
        let bye = matches!(packets.last(), Some(RtcpPacket::Bye { reason: b"done", .. }));
        assert_eq!(bye, n == compounds.len() - 1);
    }
    let listener = call.b.rtcp();
    let first = parse_compound(&listener[0].1).unwrap().into_iter().next().unwrap();
    assert!(matches!(first, RtcpPacket::ReceiverReport { .. }), "who sent nothing receives");
}

#[test]
fn rfc3550_6_4_1_the_two_times_of_a_sender_report_are_one_instant() {
    let mut call = Call::new(good(), 2, |config| config.rtcp_interval = Duration::from_secs(1));
    call.a.play(1, voice(80_000, 8000), 8000);
    call.run(Time::ms(10_500));
    let (sent_at, _, _, _, timestamp, _) = call.a.rtp()[0];
    let mut reports = 0;
    for (at, bytes) in call.a.rtcp() {
        let packet = parse_compound(&bytes).unwrap().into_iter().next().unwrap();
        let RtcpPacket::SenderReport { info, .. } = packet else { continue };
        let wall_ms = ((u128::from(info.ntp.0) * 1000) >> 32) as u64 - 2_208_988_800_000;
        assert!(wall_ms.abs_diff(at.as_ms()) <= 1);
        let media_ms = u64::from(info.rtp.0.wrapping_sub(timestamp) / 8) + sent_at.as_ms();
        assert!(media_ms.abs_diff(wall_ms) <= 1, "{media_ms} {wall_ms}");
        reports += 1;
    }
    assert!(reports > 5);
}

#[test]
fn both_ends_measure_the_round_trip_and_each_others_loss() {
    let link = LinkConfig { loss: Loss::Random(0.1), ..good() };
    let mut call = Call::new(link, 3, |config| config.rtcp_interval = Duration::from_secs(1));
    call.a.play(1, voice(240_000, 8000), 8000);
    call.b.play(1, voice(240_000, 8000), 8000);
    call.run(Time::secs(29));
    for end in [&call.a, &call.b] {
        let stats = end.session.stats();
        let round_trip = stats.round_trip.expect("reports went both ways");
        assert!(round_trip.abs_diff(MS(80)) < MS(3), "{round_trip:?}");
        let remote = stats.remote_lost.unwrap();
        assert!((90..200).contains(&remote), "10 % of 1450: {remote}");
        assert!((90..200).contains(&stats.packets_lost), "{}", stats.packets_lost);
        assert!(stats.jitter < MS(1));
    }
}

#[test]
fn rfc3550_6_3_7_a_goodbye_is_told_after_the_last_audio() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(8000, 8000), 8000);
    call.run(Time::ms(995));
    call.a.session.close(call.now, "hung up");
    call.drain();
    call.run(Time::secs(2));
    let (at, event) = call.b.events.last().unwrap();
    assert_eq!(*event, Event::RemoteBye { reason: "hung up".into() });
    assert!(*at - Time::ms(1035) <= MS(120), "{at:?}");
    assert_eq!(call.b.session.stats().frames_received, 50);
    assert_eq!(call.a.rtp().len(), 50);
    assert_eq!(call.a.session.deadline(), Time::FAR, "nothing is due after a close");
}

#[test]
fn rfc3550_6_6_the_reason_of_a_goodbye_has_no_character_that_hides_or_forges_a_line() {
    let said = "a\n\r\0\u{1b}\u{7f}\u{9b}b\u{2028}\u{2029}c\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}d Grüße 你好 \u{1f3a7}";
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(8000, 800), 8000);
    call.run(Time::ms(300));
    call.a.session.close(call.now, said);
    call.drain();
    call.run(Time::secs(1));
    let (_, event) = call.b.events.last().unwrap();
    assert_eq!(*event, Event::RemoteBye { reason: "abcd Grüße 你好 \u{1f3a7}".into() });
}

#[test]
fn rfc3550_6_3_7_who_never_spoke_says_no_goodbye() {
    let mut call = Call::new(good(), 1, |_| {});
    call.run(Time::ms(100));
    call.a.session.close(call.now, "");
    call.drain();
    assert!(call.a.sent.is_empty());
}

#[test]
fn a_forged_goodbye_changes_nothing() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(16_000, 8000), 8000);
    call.run(Time::secs(1));
    let ssrc = call.a.session.ssrc();
    let mut bye = vec![];
    roomkit_media::rtcp::write_compound(&mut bye, ssrc, None, &[], "x", &[], Some("forged"));
    let stranger = "198.51.100.9:10001".parse().unwrap();
    call.b.session.receive(call.now, stranger, Port::Rtcp, &bye);
    let mut other = vec![];
    roomkit_media::rtcp::write_compound(&mut other, Ssrc(77), None, &[], "x", &[], Some("forged"));
    let neighbour = "192.0.2.1:999".parse().unwrap();
    call.b.session.receive(call.now, neighbour, Port::Rtcp, &other);
    call.run(Time::secs(2));
    assert!(!call.b.events.iter().any(|(_, e)| matches!(e, Event::RemoteBye { .. })));
    assert_eq!(call.b.session.stats().rtcp_stranger, 2);
}

/// Between our offer and its answer the far end may report already, and encrypt what it sends.
#[test]
fn what_a_stranger_sends_as_rtcp_is_a_stranger_s_whether_or_not_it_makes_sense() {
    let (far, other) = (A.parse().unwrap(), "198.51.100.9:10001".parse().unwrap());
    let unreadable = [&[0x80, 201, 0, 1, 0, 0, 0, 7][..], &[0x5a; 30]].concat();
    for (signalled, from, wanted) in
        [(None, far, (0, 1)), (Some(far), far, (1, 0)), (Some(far), other, (0, 1))]
    {
        let mut session = Session::new(SessionConfig::pcmu(signalled), Time::ZERO, 7).unwrap();
        session.receive(Time::ms(1), from, Port::Rtcp, &unreadable);
        let stats = session.stats();
        assert_eq!((stats.rtcp_malformed, stats.rtcp_stranger), wanted, "{signalled:?} {from}");
    }
}

/// As libre has them, the library of baresip: a keep-alive that opens a NAT, before any audio, and a BYE with the name
/// behind it. Neither begins with a report.
#[test]
fn rfc5506_3_4_2_a_keep_alive_and_a_goodbye_without_a_report_are_understood() {
    for forged in [false, true] {
        let mut call = Call::new(good(), 1, |config| config.rtcp = RtcpMode::Mux);
        let ssrc = call.a.session.ssrc();
        let named = |rest: &[u8]| [&ssrc.0.to_be_bytes()[..], rest].concat();
        let ping = [&[0x80, 204, 0, 3][..], &named(b"PINGPONG")].concat();
        let bye = [&[0x81, 203, 0, 3][..], &named(b"\x04Adjo\0\0\0")].concat();
        let name = [&[0x81, 202, 0, 2][..], &named(&[1, 2, b'm', b'e'])].concat();
        let leave = [bye, name].concat();
        let from = if forged { "198.51.100.9:10001".parse().unwrap() } else { call.a.addr };
        call.b.session.receive(Time::ZERO, from, Port::Rtp, &ping);
        call.a.play(1, voice(8000, 8000), 8000);
        call.run(Time::ms(900));
        call.b.session.receive(call.now, from, Port::Rtp, &leave);
        call.run(Time::secs(2));
        let gone = call.b.events.iter().find_map(|(_, event)| match event {
            Event::RemoteBye { reason } => Some(reason.as_str()),
            _ => None,
        });
        assert_eq!(gone, (!forged).then_some("Adjo"));
        let stats = call.b.session.stats();
        let wanted = if forged { (0, 2) } else { (0, 0) };
        assert_eq!((stats.rtcp_malformed, stats.rtcp_stranger), wanted);
        assert!(forged || stats.rtcp_received >= 2);
    }
}

#[test]
fn a_vanished_far_end_is_told_once_and_so_is_its_return() {
    let mut call = Call::new(good(), 1, |config| {
        config.rtp_timeout = Some(Duration::from_secs(5));
    });
    call.a.play(1, voice(8000, 8000), 8000);
    call.run(Time::secs(10));
    call.a.play(2, voice(8000, 8000), 8000);
    call.run(Time::secs(12));
    let events: Vec<&Event> = call
        .b
        .events
        .iter()
        .map(|(_, e)| e)
        .filter(|e| matches!(e, Event::RtpTimeout | Event::RtpResumed))
        .collect();
    assert_eq!(events, [&Event::RtpTimeout, &Event::RtpResumed]);
}

#[test]
fn a_strangers_packets_change_nothing() {
    let run = |attacked: bool| {
        let mut call = Call::new(good(), 9, |_| {});
        call.a.play(1, voice(24_000, 8000), 8000);
        for n in 0..100u16 {
            call.run(Time::ms(20 * u64::from(n) + 300));
            if attacked {
                let last = call.a.sent.last().unwrap().1.bytes.clone();
                let real = RtpPacket::parse(&last).unwrap();
                for (from, ssrc, payload_type) in [
                    ("198.51.100.9:4000", real.ssrc, 0),
                    ("198.51.100.9:4000", Ssrc(1), 101),
                    ("192.0.2.1:10002", real.ssrc, 0),
                    (A, Ssrc(2), 0),
                ] {
                    let (seq, timestamp) = (real.seq.plus(n % 3), real.timestamp);
                    let mut bytes = vec![];
                    RtpHeader { marker: false, payload_type, seq, timestamp, ssrc }
                        .write(&mut bytes);
                    bytes.extend([7, 0x8a, 0x03, 0x20].repeat(40));
                    call.b.session.receive(call.now, from.parse().unwrap(), Port::Rtp, &bytes);
                }
            }
        }
        call.run(Time::secs(4));
        let mut stats = call.b.session.stats();
        assert_eq!(stats.stranger > 0, attacked);
        let by_reason = [stats.stranger_host, stats.stranger_meanwhile, stats.stranger_unproven];
        assert!(by_reason.iter().all(|count| (*count > 0) == attacked), "{by_reason:?}");
        assert_eq!(stats.stranger, by_reason.iter().sum());
        stats = Stats {
            stranger: 0,
            stranger_host: 0,
            stranger_meanwhile: 0,
            stranger_unproven: 0,
            ..stats
        };
        (call.b.frames, call.b.events, stats, call.b.session.destination())
    };
    let (calm, attacked) = (run(false), run(true));
    assert!(calm.0 == attacked.0, "frames");
    assert_eq!(calm.1, attacked.1, "events");
    assert_eq!(calm.2, attacked.2, "statistics");
    assert_eq!(calm.3, attacked.3, "destination");
}

#[test]
fn a_new_ssrc_and_a_step_back_in_sequence_lose_no_frame() {
    let config = SessionConfig::pcmu(Some(A.parse().unwrap()));
    let mut session = Session::new(config, Time::ZERO, 1).unwrap();
    let said = voice(160 * 150, 8000);
    let mut coded = vec![];
    roomkit_media::codec::CodecSpec::PCMU.encoder().encode(&said, &mut coded);
    let mut heard = vec![];
    for n in 0..200usize {
        let now = Time::ms(20 * n as u64);
        if n < 150 {
            // The sequence steps back by 20 000 at 50; another source takes over at 100.
            let seq = if n < 50 { 30_000 + n } else { 10_000 + n } as u16;
            let ssrc = Ssrc(if n < 100 { 1 } else { 2 });
            let timestamp = RtpTime(n as u32 * 160 + if n < 100 { 0 } else { 5_000_000 });
            let mut bytes = vec![];
            RtpHeader { marker: false, payload_type: 0, seq: SeqNo(seq), timestamp, ssrc }
                .write(&mut bytes);
            bytes.extend(&coded[n * 160..][..160]);
            session.receive(now, A.parse().unwrap(), Port::Rtp, &bytes);
        }
        session.handle_deadline(now);
        while let Some(output) = session.poll() {
            if let roomkit_media::session::Output::Frame(frame) = output {
                heard.extend(frame.pcm);
            }
        }
    }
    let mut decoded = vec![];
    roomkit_media::codec::CodecSpec::PCMU.decoder().decode(&coded, &mut decoded).unwrap();
    let frames: Vec<&[i16]> = decoded.chunks(160).collect();
    // Frames at a change may be cross-faded with what bridges it; all others are there as they were.
    let missing: Vec<usize> =
        (0..150).filter(|&n| !heard.windows(160).any(|window| window == frames[n])).collect();
    assert!(missing.iter().all(|n| [50, 100].contains(n)), "{missing:?}");
    assert_eq!(session.stats().source_changes, 2);
}

#[test]
fn rfc3550_8_2_a_collision_changes_our_ssrc_once_and_a_loop_never_again() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(16_000, 8000), 8000);
    call.run(Time::secs(1));
    let before = call.a.session.ssrc();
    // As it was, it would be an echo (`reflection.rs`); another payload under our SSRC is somebody else's.
    let forged = |call: &Call| {
        let sent = call.a.sent.iter().rev().find(|(_, d)| d.port == Port::Rtp);
        let mut bytes = sent.unwrap().1.bytes.clone();
        bytes[12] ^= 1;
        bytes
    };
    let echo = forged(&call);
    let far = call.b.addr;
    for _ in 0..20 {
        call.a.session.receive(call.now, far, Port::Rtp, &echo);
    }
    call.drain();
    let after = call.a.session.ssrc();
    assert_ne!(before, after);
    let bye = call.a.rtcp().last().unwrap().1.clone();
    assert!(parse_compound(&bye).unwrap().into_iter().any(|p| matches!(p, RtcpPacket::Bye { .. })));
    let packets_before = call.b.session.stats().packets_received;
    call.run(Time::ms(1500));
    let looped = forged(&call);
    call.a.session.receive(call.now, far, Port::Rtp, &looped);
    assert_eq!(call.a.session.ssrc(), after);
    call.run(Time::secs(2));
    assert!(
        call.b.session.stats().packets_received > packets_before + 20,
        "b follows the new SSRC"
    );
}

#[test]
fn symmetric_rtp_answers_a_learned_source_where_it_speaks_from() {
    for (policy, signalled, answered) in [
        // Behind a NAT the signalled address is nobody's.
        (Policy::Learn, Some("203.0.113.7:5555"), A),
        (Policy::Learn, None, A),
        // A peer that sends from another port of the signalled host may listen on the signalled one only.
        (Policy::Host, Some("192.0.2.1:5555"), "192.0.2.1:5555"),
    ] {
        let signalled = signalled.map(|s| s.parse().unwrap());
        let mut call = Call::between(
            good(),
            1,
            |_| {},
            |config| {
                config.policy = policy;
                config.remote = signalled;
            },
        );
        call.a.play(1, voice(16_000, 8000), 8000);
        call.run(Time::secs(1));
        assert_eq!(call.b.session.destination(), Some(answered.parse().unwrap()));
        assert_eq!(call.b.session.source().unwrap().0, A.parse().unwrap());
        let locked = call.b.events.iter().filter(|(_, e)| matches!(e, Event::SourceLocked { .. }));
        assert_eq!(locked.count(), 1);
    }
}

#[test]
fn rtcp_mux_uses_one_port_and_off_uses_none() {
    for mode in [RtcpMode::Mux, RtcpMode::Off] {
        let mut call = Call::new(good(), 1, |config| config.rtcp = mode);
        call.a.play(1, voice(80_000, 8000), 8000);
        call.run(Time::secs(10));
        let rtcp = call.a.sent.iter().filter(|(_, d)| roomkit_media::rtp::is_rtcp(&d.bytes));
        let ports: Vec<Port> = rtcp.map(|(_, d)| d.port).collect();
        assert_eq!(ports.is_empty(), mode == RtcpMode::Off);
        assert!(ports.iter().all(|port| *port == Port::Rtp));
        assert_eq!(call.b.session.stats().rtcp_received > 0, mode == RtcpMode::Mux);
    }
}

#[test]
fn random_datagrams_are_counted_and_the_call_goes_on() {
    let mut call = Call::new(good(), 1, |_| {});
    call.a.play(1, voice(80_000, 8000), 8000);
    let mut rng = roomkit_media::rng::Rng::new(4);
    for n in 0..400u64 {
        call.run(Time::ms(20 * n));
        for port in [Port::Rtp, Port::Rtcp] {
            let len = rng.next_u16() as usize % 1600;
            let mut junk: Vec<u8> = (0..len).map(|_| rng.next_u16() as u8).collect();
            if let Some(first) = junk.first_mut().filter(|_| n % 2 == 0) {
                *first = 0x80 | (*first & 0x3f);
            }
            let from = call.a.addr;
            call.b.session.receive(call.now, from, port, &junk);
        }
    }
    call.run(Time::secs(11));
    let stats = call.b.session.stats();
    assert!(stats.malformed > 100 && stats.rtcp_malformed > 100, "{stats:?}");
    assert_eq!(stats.packets_received, 500);
    assert_eq!(stats.frames_received, 500);
}
