//! What an attacker can do whom addresses alone do not stop, and where that ends. Each bound that the documentation claims
//! is one test here: who can read the call and forge its addresses needs to be stopped by SRTP.

mod common;

use common::A;
use roomkit_media::rng::Rng;
use roomkit_media::rtcp::write_compound;
use roomkit_media::rtp::RtpHeader;
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{Chunk, Event, Output, Port, Session, SessionConfig};
use roomkit_media::source::Policy;
use roomkit_media::time::Time;
use std::net::SocketAddr;

const TRIES: u64 = 10_000;
/// Where the far end's RTCP comes from.
const RTCP: &str = "192.0.2.1:10001";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// One packet of 20 ms, its timestamp as its sequence number has it; `level` is its sound.
fn packet(payload_type: u8, ssrc: u32, seq: u16, level: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (timestamp, ssrc) = (RtpTime(u32::from(seq) * 160), Ssrc(ssrc));
    RtpHeader { marker: false, payload_type, seq: SeqNo(seq), timestamp, ssrc }.write(&mut bytes);
    bytes.extend([level; 160]);
    bytes
}

fn session(policy: Policy, remote: Option<&str>) -> Session {
    let mut config = SessionConfig::pcmu(remote.map(addr));
    config.policy = policy;
    Session::new(config, Time::ZERO, 4).unwrap()
}

/// Lets the session work up to `ms`; what it sends, and to whom.
fn work(session: &mut Session, ms: u64) -> Vec<Output> {
    while session.deadline() <= Time::ms(ms) {
        session.handle_deadline(session.deadline());
    }
    std::iter::from_fn(|| session.poll()).collect()
}

fn destinations(outputs: &[Output]) -> Vec<SocketAddr> {
    let to = |output: &Output| match output {
        Output::Datagram { to, .. } => Some(*to),
        _ => None,
    };
    outputs.iter().filter_map(to).collect()
}

#[test]
fn who_forges_the_address_and_knows_the_ssrc_hits_the_sequence_with_one_packet_in_twenty() {
    let (mut rng, mut hits) = (Rng::new(1), 0);
    for _ in 0..TRIES {
        let mut session = session(Policy::Strict, Some(A));
        let first = rng.next_u16();
        for n in 0..5 {
            let at = Time::ms(u64::from(n) * 20);
            session.receive(at, addr(A), Port::Rtp, &packet(0, 9, first.wrapping_add(n), 0));
        }
        session.receive(Time::ms(81), addr(A), Port::Rtp, &packet(0, 9, rng.next_u16(), 0));
        hits += 1 - session.stats().doubtful;
    }
    // RFC 3550 §A.1: MAX_DROPOUT and MAX_MISORDER of 65536.
    assert!((400..550).contains(&hits), "{hits} of {TRIES}");
}

#[test]
fn who_forges_the_address_and_reads_the_call_is_heard() {
    // The silence of the far end's packets, and the loud ones of who is faster.
    let mut session = session(Policy::Strict, Some(A));
    let mut loudest = 0;
    for seq in 0..100u16 {
        let ms = u64::from(seq) * 20;
        if seq > 50 {
            session.receive(Time::ms(ms - 1), addr(A), Port::Rtp, &packet(0, 9, seq, 0x80));
        }
        session.receive(Time::ms(ms), addr(A), Port::Rtp, &packet(0, 9, seq, 0xff));
        for output in work(&mut session, ms) {
            if let Output::Frame(frame) = output {
                loudest = frame.pcm.iter().fold(loudest, |l, s| l.max(s.unsigned_abs()));
            }
        }
    }
    assert!(loudest > 30_000, "only SRTP keeps that out");
}

#[test]
fn without_a_signalled_address_the_first_who_proves_itself_has_the_call_while_it_speaks() {
    let mut session = session(Policy::Learn, None);
    let (thief, caller) = (addr("203.0.113.66:9"), addr(A));
    let mut heard = Vec::new();
    for seq in 0..200u16 {
        let now = Time::ms(u64::from(seq) * 20);
        session.receive(now, thief, Port::Rtp, &packet(0, 66, seq, 0));
        if seq > 10 {
            session.receive(now, caller, Port::Rtp, &packet(0, 9, seq, 0));
        }
        heard.extend(session.source());
    }
    assert!(heard.iter().all(|source| *source == (thief, Ssrc(66))) && heard.len() == 196);

    // With one, and the same policy, it has lost it again with the second packet of the caller.
    let mut session = self::session(Policy::Learn, Some(A));
    for seq in 0..200u16 {
        let now = Time::ms(u64::from(seq) * 20);
        session.receive(now, thief, Port::Rtp, &packet(0, 66, seq, 0));
        if seq > 10 {
            session.receive(now, caller, Port::Rtp, &packet(0, 9, seq, 0));
        }
        assert!(seq <= 11 || session.source() == Some((caller, Ssrc(9))), "packet {seq}");
    }
}

#[test]
fn five_forged_packets_have_our_audio_sent_to_where_they_seem_to_come_from_with_learn_only() {
    let victim = addr("203.0.113.1:53");
    for policy in [Policy::Strict, Policy::Host, Policy::Learn, Policy::Follow] {
        let mut session = session(policy, Some(A));
        let pcm = vec![1000; 8000 * 4];
        let chunk = Chunk {
            playback: 1,
            pcm,
            sample_rate: 8000,
            channels: 1,
            last: true,
            live: false,
            marks: vec![],
        };
        session.play(chunk).unwrap();
        let mut sent = Vec::new();
        for seq in 0..150u16 {
            let ms = u64::from(seq) * 20;
            if seq < 5 {
                session.receive(Time::ms(ms), victim, Port::Rtp, &packet(0, 66, seq, 0));
            }
            // The far end speaks from the second second on.
            if seq >= 50 {
                session.receive(Time::ms(ms), addr(A), Port::Rtp, &packet(0, 9, seq, 0));
            }
            sent.extend(destinations(&work(&mut session, ms)));
        }
        let reflected = sent.iter().filter(|to| to.ip() == victim.ip()).count();
        match policy {
            Policy::Strict | Policy::Host => assert_eq!(reflected, 0),
            // From its fifth packet until the second of the far end.
            Policy::Learn | Policy::Follow => assert!((1..=48).contains(&reflected), "{reflected}"),
        }
    }
}

#[test]
fn rfc3550_8_2_our_own_ssrc_forged_at_the_far_host_makes_us_change_it_once() {
    let mut session = session(Policy::Host, Some(A));
    let pcm = vec![1000; 8000 * 30];
    session
        .play(Chunk {
            playback: 1,
            pcm,
            sample_rate: 8000,
            channels: 1,
            last: true,
            live: false,
            marks: vec![],
        })
        .unwrap();
    let (first, mut changes) = (session.ssrc(), 0);
    for n in 0..TRIES {
        let before = session.ssrc();
        let forged = packet(0, before.0, n as u16, 0);
        session.receive(Time::ms(n * 2), addr(A), Port::Rtp, &forged);
        changes += u32::from(session.ssrc() != before);
        let told = work(&mut session, n * 2);
        assert!(!told.iter().any(|o| matches!(o, Output::Event(Event::RemoteBye { .. }))));
    }
    assert!(changes == 1 && session.ssrc() != first);
    assert_eq!(session.stats().looped, TRIES);
}

/// A compound of an empty report, with a goodbye or without.
fn compound(ssrc: u32, goodbye: Option<&str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_compound(&mut bytes, Ssrc(ssrc), None, &[], "far", &[], goodbye);
    bytes
}

fn goodbyes(told: &[Output]) -> usize {
    told.iter().filter(|told| matches!(told, Output::Event(Event::RemoteBye { .. }))).count()
}

#[test]
fn rtcp_that_comes_faster_than_anybody_reports_is_taken_at_a_bounded_rate_and_harms_nothing() {
    // 50 000 compounds a second from the far end's own address, under its SSRC, before it has spoken and after.
    let run = |flooded: bool| {
        let mut session = session(Policy::Host, Some(A));
        let mut told = Vec::new();
        for ms in 0..5000u64 {
            for _ in 0..if flooded { 50 } else { 0 } {
                session.receive(Time::ms(ms), addr(RTCP), Port::Rtcp, &compound(9, None));
            }
            if ms >= 1000 && ms % 20 == 0 {
                let seq = (ms / 20) as u16;
                session.receive(Time::ms(ms), addr(A), Port::Rtp, &packet(0, 9, seq, 0));
            }
            told.extend(work(&mut session, ms));
        }
        (session.stats(), told)
    };
    let ((quiet, expected), (stats, told)) = (run(false), run(true));
    // Fifty a second, and a second's worth in advance.
    assert!((250..=301).contains(&stats.rtcp_received), "{}", stats.rtcp_received);
    assert_eq!(stats.rtcp_received + stats.rtcp_rate_limited, 250_000);
    assert_eq!((quiet.rtcp_rate_limited, quiet.rtcp_received), (0, 0));
    assert_eq!(stats.packets_received, quiet.packets_received);
    let heard = |outputs: Vec<Output>| -> Vec<Output> {
        outputs.into_iter().filter(|o| !matches!(o, Output::Datagram { .. })).collect()
    };
    assert!(heard(told) == heard(expected), "no event and no frame is different");
}

#[test]
fn a_goodbye_is_heard_in_the_middle_of_a_flood_and_told_once() {
    for on_hold in [false, true] {
        let mut session = session(Policy::Host, Some(A));
        for seq in 0..50u16 {
            session.receive(
                Time::ms(20 * u64::from(seq)),
                addr(A),
                Port::Rtp,
                &packet(0, 9, seq, 0),
            );
            work(&mut session, 20 * u64::from(seq));
        }
        if on_hold {
            let mut config = SessionConfig::pcmu(Some(addr(A)));
            config.direction = roomkit_media::session::Direction::Inactive;
            session.update(Time::ms(1000), &config).unwrap();
        }
        let (mut told, mut resumed) = (0, 0);
        for ms in 1000..5000u64 {
            for n in 0..50 {
                // From the second second on all of them are goodbyes, but for a second of reports: what repeats itself is no
                // news, and a goodbye is no sign of life.
                let goodbyes = (2000..3000).contains(&ms) || ms >= 4000;
                let goodbye = (goodbyes || (ms, n) == (1500, 25)).then_some("done");
                session.receive(Time::ms(ms), addr(RTCP), Port::Rtcp, &compound(9, goodbye));
            }
            let outputs = work(&mut session, ms);
            told += goodbyes(&outputs);
            resumed += outputs.iter().filter(|o| **o == Output::Event(Event::RtpResumed)).count();
            // On hold reports are all that there is to hear of the far end, and so they are a return.
            let again = usize::from(on_hold && ms >= 4000);
            let returned = usize::from(on_hold && ms >= 3100);
            match ms {
                0..1500 => assert_eq!((told, resumed), (0, 0)),
                1600..3000 | 3100..4000 | 4100.. => {
                    assert_eq!((told, resumed), (1 + again, returned), "at {ms} ms: {on_hold}");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn another_far_end_may_say_goodbye_after_the_first_has() {
    let mut session = session(Policy::Host, Some(A));
    let leave = |session: &mut Session, from: &str, ms: u64| {
        session.receive(Time::ms(ms), addr(from), Port::Rtcp, &compound(9, Some("done")));
        goodbyes(&work(session, ms + 100))
    };
    assert_eq!((leave(&mut session, RTCP, 100), leave(&mut session, RTCP, 1000)), (1, 0));
    session.retarget(Time::ms(2000), addr("192.0.2.77:4000"));
    assert_eq!(leave(&mut session, "192.0.2.77:4001", 3000), 1);
}

#[test]
fn a_stream_that_comes_faster_than_any_call_is_taken_at_the_rate_of_one() {
    // The far end itself, or who forges all of it: 50 000 packets a second.
    let mut session = session(Policy::Host, Some(A));
    for n in 0..250_000u64 {
        let ms = n / 50;
        session.receive(Time::ms(ms), addr(A), Port::Rtp, &packet(0, 9, n as u16, 0));
        if n % 1000 == 0 {
            work(&mut session, ms);
        }
    }
    let stats = session.stats();
    assert!(stats.packets_received <= 5 * 400 + 400 + 2, "{}", stats.packets_received);
    assert_eq!(stats.packets_received + stats.rate_limited, 250_000);
    assert_eq!(session.destination(), Some(addr(A)));
}
