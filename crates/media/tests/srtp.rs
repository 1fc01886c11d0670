//! Secured calls: what comes in is authenticated before anything else sees it, and keys change without a gap.

mod common;

use common::{good, voice, Call, Datagram, A, B};
use roomkit_media::dtmf::Digit;
use roomkit_media::rtp::{is_rtcp, RtpHeader, RtpPacket};
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{Event, FrameKind, Output, Port, RtcpMode, Session, SessionConfig};
use roomkit_media::source::Policy;
use roomkit_media::srtp::{Effort, MasterKey, Srtp, SrtpConfig, Suite};
use roomkit_media::stats::Stats;
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{Jitter, LinkConfig, Loss};

fn key(suite: Suite, fill: u8) -> MasterKey {
    MasterKey::new(suite, &vec![fill; suite.key_len() + suite.salt_len()], &[], None).unwrap()
}

/// The keys of A and of B.
fn keys(suite: Suite, fill: u8) -> (SrtpConfig, SrtpConfig) {
    let (a, b) = (key(suite, fill), key(suite, fill + 1));
    (
        SrtpConfig { send: a.clone(), receive: vec![b.clone()] },
        SrtpConfig { send: b, receive: vec![a] },
    )
}

fn call(link: LinkConfig, seed: u64, suite: Suite) -> Call {
    let (a, b) = keys(suite, 1);
    Call::between(
        link,
        seed,
        |c| {
            c.srtp = Some(a.clone());
            c.rtcp_interval = Duration::from_millis(400);
        },
        |c| {
            c.srtp = Some(b.clone());
            c.rtcp_interval = Duration::from_millis(400);
        },
    )
}

fn talking(link: LinkConfig, seed: u64, suite: Suite) -> Call {
    let mut call = call(link, seed, suite);
    call.a.play(1, voice(60 * 8000, 8000), 8000);
    call.b.play(1, voice(60 * 8000, 8000), 8000);
    call
}

/// All counters of a refused packet.
fn refused(stats: &Stats) -> u64 {
    stats.srtp_bad_tag
        + stats.srtp_replayed
        + stats.srtp_malformed
        + stats.srtp_unkeyed
        + stats.srtp_unencrypted
        + stats.srtp_overflow
}

#[test]
fn a_secured_call_is_a_call_under_every_suite() {
    for suite in Suite::ALL {
        let mut call = talking(good(), 1, suite);
        call.a.session.send_dtmf(Digit::parse('5').unwrap(), Duration::from_millis(100)).unwrap();
        call.run(Time::secs(3));
        for end in [&call.a, &call.b] {
            let stats = end.session.stats();
            assert_eq!(refused(&stats), 0, "{suite:?} {stats:?}");
            assert!(stats.packets_received >= 140 && stats.packets_lost == 0, "{stats:?}");
            assert!(stats.rtcp_received >= 3 && stats.round_trip.is_some(), "{stats:?}");
            assert_eq!(end.count(FrameKind::Concealed), 0);
        }
        assert_eq!(call.b.digits(), "5");
        call.a.session.close(call.now, "that was all");
        call.drain();
        call.run(Time::secs(4));
        let bye = Event::RemoteBye { reason: "that was all".into() };
        assert!(call.b.events.iter().any(|(_, event)| *event == bye), "{:?}", call.b.events);
    }
}

#[test]
fn nothing_leaves_in_plain() {
    let plain = |call: &Call| -> Vec<Vec<u8>> {
        call.a.sent.iter().map(|(_, datagram)| datagram.bytes.clone()).collect()
    };
    let run = |mut call: Call| {
        call.a.play(1, voice(8000, 8000), 8000);
        call.a.session.send_dtmf(Digit::parse('5').unwrap(), Duration::from_millis(100)).unwrap();
        call.run(Time::secs(2));
        call.a.session.close(call.now, "that was all");
        call.drain();
        plain(&call)
    };
    let (a, b) = keys(Suite::AeadAes128Gcm, 1);
    let secured = run(call(good(), 1, Suite::AeadAes128Gcm));
    assert!(secured.iter().any(|bytes| is_rtcp(bytes)) && secured.len() > 55);
    let mut opener = Srtp::new(&b);
    for bytes in secured {
        let mut clear = bytes.clone();
        if is_rtcp(&bytes) {
            assert!(opener.unprotect_rtcp(Time::ZERO, &mut clear, Effort::Whole).is_ok());
            assert!(!bytes.windows(4).any(|four| four == b"that"), "the reason of the goodbye");
            assert_ne!(bytes[8..clear.len()], clear[8..]);
        } else {
            assert!(opener.unprotect_rtp(Time::ZERO, &mut clear, Effort::Whole).is_ok());
            assert_ne!(bytes[12..clear.len()], clear[12..]);
        }
    }
    drop(a);
}

#[test]
fn rfc3711_3_3_a_forged_packet_changes_nothing_but_its_counter() {
    let mut call = talking(good(), 3, Suite::AesCm128HmacSha1_80);
    let source = call.a.session.ssrc();
    let genuine = |call: &Call| call.a.sent.last().unwrap().1.clone();
    for ms in (20..3000).step_by(10) {
        call.run(Time::ms(ms));
        if call.a.sent.is_empty() {
            continue;
        }
        let before = call.b.session.stats();
        let packet = genuine(&call);
        let mut changed = packet.bytes.clone();
        let at = (ms as usize * 7) % changed.len();
        // The first octet is left: with another version it would be malformed and counted as such.
        changed[at.max(1)] ^= 1 << (ms % 7);
        let header = RtpHeader {
            marker: false,
            payload_type: 0,
            seq: SeqNo(ms as u16),
            timestamp: RtpTime(ms as u32 * 8),
            ssrc: if ms % 20 == 0 { source } else { Ssrc(ms as u32) },
        };
        let mut plain = Vec::new();
        header.write(&mut plain);
        plain.extend_from_slice(&[0x55; 160]);
        let from = call.a.addr;
        let now = call.now;
        call.b.session.receive(now, from, Port::Rtp, &plain);
        call.b.session.receive(now, from, packet.port, &changed);
        let after = call.b.session.stats();
        assert_eq!(refused(&after), refused(&before) + 2);
        let told_apart = |stats: Stats| Stats {
            srtp_bad_tag: 0,
            srtp_replayed: 0,
            srtp_malformed: 0,
            srtp_unencrypted: 0,
            ..stats
        };
        assert_eq!(told_apart(after), told_apart(before), "at {ms} ms");
    }
    assert_eq!(call.b.session.source().map(|(_, ssrc)| ssrc), Some(source));
    assert_eq!(call.b.count(FrameKind::Concealed), 0);
    assert!(call.b.session.stats().packets_received > 140);
}

#[test]
fn before_the_source_is_known_a_forger_at_the_signalled_address_is_not_learned() {
    let (_, b) = keys(Suite::AesCm128HmacSha1_80, 1);
    let mut config = SessionConfig::pcmu(Some(A.parse().unwrap()));
    config.srtp = Some(b);
    let mut session = Session::new(config, Time::ZERO, 9).unwrap();
    let mut foreign = Srtp::new(&keys(Suite::AesCm128HmacSha1_80, 50).0);
    for n in 0..100u16 {
        let now = Time::ms(20 * u64::from(n));
        let header = RtpHeader {
            marker: n == 0,
            payload_type: 0,
            seq: SeqNo(n),
            timestamp: RtpTime(u32::from(n) * 160),
            ssrc: Ssrc(7),
        };
        let mut packet = Vec::new();
        header.write(&mut packet);
        packet.extend_from_slice(&[0x55; 160]);
        session.receive(now, A.parse().unwrap(), Port::Rtp, &packet);
        foreign.protect_rtp(&mut packet).unwrap();
        session.receive(now, A.parse().unwrap(), Port::Rtp, &packet);
        session.handle_deadline(now);
        while let Some(output) = session.poll() {
            assert!(matches!(output, Output::Datagram { .. }), "{output:?}");
        }
    }
    assert_eq!(session.source(), None);
    let expected = Stats { srtp_bad_tag: 200, ..Stats::default() };
    let stats = session.stats();
    assert_eq!((stats.srtp_bad_tag, stats.packets_received), (expected.srtp_bad_tag, 0));
    assert_eq!((stats.stranger, stats.malformed, stats.unknown_payload_type), (0, 0, 0));
}

#[test]
fn rfc3711_3_3_2_a_call_that_is_replayed_is_heard_once() {
    let mut call = talking(good(), 5, Suite::AeadAes256Gcm);
    call.a.session.send_dtmf(Digit::parse('7').unwrap(), Duration::from_millis(100)).unwrap();
    call.run(Time::secs(2));
    let once = call.b.session.stats();
    let recorded: Vec<Datagram> = call.a.sent.iter().map(|(_, sent)| sent.clone()).collect();
    let frames = call.b.frames.len();
    for datagram in &recorded {
        call.b.session.receive(call.now, datagram.from, datagram.port, &datagram.bytes);
    }
    call.drain();
    let twice = call.b.session.stats();
    // What is still on its way comes the first time in this.
    assert!(twice.srtp_replayed >= recorded.len() as u64 - 5, "{}", twice.srtp_replayed);
    assert!(twice.packets_received - once.packets_received < 5);
    assert_eq!(call.b.frames.len(), frames);
    assert_eq!(call.b.digits(), "7");
}

#[test]
fn a_secured_session_and_a_plain_one_do_not_hear_one_another() {
    let (a, _) = keys(Suite::AesCm128HmacSha1_32, 1);
    let mut call = Call::between(good(), 6, |c| c.srtp = Some(a.clone()), |_| {});
    call.a.play(1, voice(16_000, 8000), 8000);
    call.b.play(1, voice(16_000, 8000), 8000);
    call.run(Time::secs(2));
    assert!(call.a.frames.is_empty() && call.a.session.source().is_none());
    assert!(call.a.session.stats().srtp_bad_tag > 90);
}

#[test]
fn loss_reordering_and_duplicates_are_what_they_are_without_srtp() {
    let link = LinkConfig {
        delay: Duration::from_millis(40),
        jitter: Jitter::Uniform(Duration::from_millis(15)),
        loss: Loss::Random(0.05),
        duplicate: 0.1,
        ..LinkConfig::default()
    };
    let (a, b) = keys(Suite::AesCm128HmacSha1_80, 1);
    let run = |a: Option<SrtpConfig>, b: Option<SrtpConfig>| {
        let mut call = Call::between(
            link,
            7,
            |c| {
                c.srtp = a.clone();
                c.rtcp = RtcpMode::Off;
            },
            |c| {
                c.srtp = b.clone();
                c.rtcp = RtcpMode::Off;
            },
        );
        call.a.play(1, voice(30 * 8000, 8000), 8000);
        call.run(Time::secs(30));
        let stats = call.b.session.stats();
        (call.b.heard(), stats.frames_concealed, stats.late, stats.srtp_replayed)
    };
    let (plain, secured) = (run(None, None), run(Some(a), Some(b)));
    assert!(secured.3 > 50, "duplicates end there: {}", secured.3);
    assert_eq!((plain.1, plain.2), (secured.1, secured.2));
    assert_eq!(plain.0, secured.0);
}

fn rekey(call: &mut Call, of_a: bool, keys: SrtpConfig) {
    let (end, remote) = if of_a { (&mut call.a, B) } else { (&mut call.b, A) };
    let mut config = SessionConfig::pcmu(Some(remote.parse().unwrap()));
    config.srtp = Some(keys);
    end.session.update(call.now, &config).unwrap();
}

#[test]
fn keys_change_in_the_middle_of_a_call_without_a_gap_if_each_is_known_before_it_is_used() {
    let mut call = talking(good(), 8, Suite::AesCm128HmacSha1_80);
    let mut old = keys(Suite::AesCm128HmacSha1_80, 1);
    call.run(Time::secs(1));
    for (n, suite) in [Suite::AeadAes256Gcm, Suite::AesCm128HmacSha1_32].into_iter().enumerate() {
        let (a, b) = keys(suite, 10 + 10 * n as u8);
        let step = Duration::from_millis(700);
        // An offer tells B what A will send with; the answer tells A what B sends with; then A goes over.
        rekey(&mut call, false, SrtpConfig { send: old.1.send, receive: b.receive.clone() });
        call.run(call.now + step);
        rekey(&mut call, true, SrtpConfig { send: old.0.send, receive: a.receive.clone() });
        call.run(call.now + step);
        rekey(&mut call, n == 0, if n == 0 { a.clone() } else { b.clone() });
        call.run(call.now + step);
        rekey(&mut call, n != 0, if n != 0 { a.clone() } else { b.clone() });
        call.run(call.now + Duration::from_secs(3));
        old = (a, b);
    }
    for end in [&call.a, &call.b] {
        let stats = end.session.stats();
        assert_eq!((refused(&stats), stats.packets_lost, stats.source_changes), (0, 0, 0));
        assert_eq!(end.count(FrameKind::Concealed), 0);
        assert!(stats.packets_received > 540, "{stats:?}");
    }
}

#[test]
fn when_one_end_changes_its_keys_first_only_what_it_sends_meanwhile_is_lost() {
    for a_first in [true, false] {
        let mut call = talking(good(), 9, Suite::AesCm128HmacSha1_80);
        call.run(Time::secs(1));
        let (a, b) = keys(Suite::AeadAes128Gcm, 10);
        let (first, second) = if a_first { (a, b) } else { (b, a) };
        rekey(&mut call, a_first, first);
        call.run(Time::ms(1200));
        rekey(&mut call, !a_first, second);
        call.run(Time::secs(4));
        let (first, second) = if a_first { (&call.a, &call.b) } else { (&call.b, &call.a) };
        let stats = first.session.stats();
        assert_eq!((refused(&stats), stats.packets_lost), (0, 0), "old keys are good for a while");
        assert_eq!(first.count(FrameKind::Concealed), 0);
        let lost = second.session.stats().packets_lost;
        assert!((7..=11).contains(&lost), "{lost} of 200 ms");
    }
}

#[test]
fn an_update_without_keys_leaves_the_session_secured() {
    let mut call = talking(good(), 10, Suite::AesCm128HmacSha1_80);
    call.run(Time::secs(1));
    let config = SessionConfig::pcmu(Some(B.parse().unwrap()));
    call.a.session.update(call.now, &config).unwrap();
    call.run(Time::secs(3));
    for end in [&call.a, &call.b] {
        assert_eq!(refused(&end.session.stats()), 0);
        assert!(end.session.stats().packets_received > 140);
    }
}

#[test]
fn a_plain_call_can_become_a_secured_one() {
    let mut call = Call::new(good(), 11, |_| {});
    call.a.play(1, voice(60 * 8000, 8000), 8000);
    call.run(Time::secs(1));
    let (a, b) = keys(Suite::AesCm128HmacSha1_80, 1);
    for (end, keys, remote) in [(&mut call.a, a, B), (&mut call.b, b, A)] {
        let mut config = SessionConfig::pcmu(Some(remote.parse().unwrap()));
        config.srtp = Some(keys);
        end.session.update(call.now, &config).unwrap();
    }
    call.run(Time::secs(4));
    let stats = call.b.session.stats();
    // Those that were on the way in plain are dropped: two of 40 ms.
    assert!((1..=3).contains(&stats.srtp_bad_tag), "{}", stats.srtp_bad_tag);
    assert!(stats.packets_received > 190, "{stats:?}");
}

#[test]
fn who_has_the_key_is_followed_to_another_address_at_once() {
    let (a, b) = keys(Suite::AesCm128HmacSha1_80, 1);
    let mut call = Call::between(
        good(),
        12,
        |c| c.srtp = Some(a.clone()),
        |c| {
            c.srtp = Some(b.clone());
            c.policy = Policy::Follow;
        },
    );
    call.a.play(1, voice(60 * 8000, 8000), 8000);
    call.run(Time::secs(2));
    assert_eq!(call.b.session.destination(), Some(call.a.addr));
    call.a.addr = "198.51.100.9:3333".parse().unwrap();
    call.run(Time::ms(2120));
    assert_eq!(call.b.session.destination(), Some(call.a.addr));
    call.run(Time::secs(4));
    assert_eq!(call.b.count(FrameKind::Concealed), 0, "not a frame is lost");
    assert_eq!(call.b.session.stats().packets_lost, 0);
}

#[test]
fn rfc3711_9_2_when_the_key_has_served_its_lifetime_nothing_leaves_until_there_is_another() {
    let suite = Suite::AesCm128HmacSha1_80;
    let (mut a, b) = keys(suite, 1);
    a.send = MasterKey::new(suite, &[1; 30], &[], Some(50)).unwrap();
    let mut call = Call::between(
        good(),
        13,
        |c| {
            c.srtp = Some(a.clone());
            c.rtcp = RtcpMode::Off;
        },
        |c| {
            c.srtp = Some(b.clone());
            c.rtcp = RtcpMode::Off;
        },
    );
    call.a.play(1, voice(60 * 8000, 8000), 8000);
    call.run(Time::secs(2));
    assert_eq!(call.a.sent.len(), 50);
    assert_eq!(call.a.session.stats().srtp_unsent, 50);
    let (new_a, new_b) = keys(suite, 30);
    for (end, keys, remote) in [(&mut call.a, new_a, B), (&mut call.b, new_b, A)] {
        let mut config = SessionConfig::pcmu(Some(remote.parse().unwrap()));
        config.srtp = Some(keys);
        end.session.update(call.now, &config).unwrap();
    }
    call.run(Time::secs(3));
    assert_eq!(call.a.sent.len(), 100);
    assert_eq!(call.a.session.stats().srtp_unsent, 50);
    assert_eq!(refused(&call.b.session.stats()), 0);
}

#[test]
fn a_secured_session_begins_its_sequence_in_the_lower_half() {
    let (a, _) = keys(Suite::AesCm128HmacSha1_80, 1);
    for seed in 0..200 {
        let mut config = SessionConfig::pcmu(Some(B.parse().unwrap()));
        config.srtp = Some(a.clone());
        let mut call = Call::between(good(), seed, |c| *c = config.clone(), |_| {});
        call.a.play(1, voice(160, 8000), 8000);
        call.run(Time::ms(10));
        let first = RtpPacket::parse(&call.a.sent[0].1.bytes).unwrap();
        assert!(first.seq.0 < 0x8000, "{seed}");
    }
}

#[test]
fn rfc3550_8_2_after_a_collision_the_new_ssrc_has_a_key_stream_of_its_own() {
    let suite = Suite::AesCm128HmacSha1_80;
    let mut call = talking(good(), 15, suite);
    call.run(Time::secs(1));
    let before = call.a.session.ssrc();
    // The far end really has the key, and our SSRC.
    let mut far = Srtp::new(&keys(suite, 1).1);
    let header = RtpHeader {
        marker: false,
        payload_type: 0,
        seq: SeqNo(9),
        timestamp: RtpTime(9),
        ssrc: before,
    };
    let mut packet = Vec::new();
    header.write(&mut packet);
    packet.extend_from_slice(&[0x55; 160]);
    far.protect_rtp(&mut packet).unwrap();
    let now = call.now;
    call.a.session.receive(now, B.parse().unwrap(), Port::Rtp, &packet);
    call.drain();
    assert_ne!(call.a.session.ssrc(), before);
    call.run(Time::secs(3));
    assert_eq!(call.a.session.stats().srtp_unsent, 0);
    // All of it is read, in order, by who has the key: under the old SSRC and under the new one.
    let mut reader = Srtp::new(&keys(suite, 1).1);
    for (_, datagram) in &call.a.sent {
        let mut clear = datagram.bytes.clone();
        if is_rtcp(&clear) {
            reader.unprotect_rtcp(Time::ZERO, &mut clear, Effort::Whole).unwrap();
        } else {
            reader.unprotect_rtp(Time::ZERO, &mut clear, Effort::Whole).unwrap();
        }
    }
    let stats = call.b.session.stats();
    assert_eq!((refused(&stats), stats.source_changes), (0, 1), "{stats:?}");
}

#[test]
fn no_key_is_in_the_debug_output_of_a_session() {
    let suite = Suite::AesCm128HmacSha1_80;
    let (a, _) = keys(suite, 0xdb);
    let mut config = SessionConfig::pcmu(None);
    config.srtp = Some(a);
    let session = Session::new(config.clone(), Time::ZERO, 1).unwrap();
    let text = format!("{config:?} {session:?}");
    assert!(!text.contains("219, 219") && !text.to_lowercase().contains("dbdb"), "{text}");
}

/// All that B gave in a call, and what it sent and where to.
type Outcome = (Vec<(Duration, Vec<i16>)>, Vec<(Time, Event)>, Vec<(Time, Datagram)>);

/// Ten seconds of a call whose packets `attack` reads on their way to B, and what it sends to B for each of them.
fn attacked(mut attack: impl FnMut(u32, &Datagram) -> Vec<Datagram>) -> (Outcome, Stats, u64) {
    let mut call = talking(good(), 14, Suite::AesCm128HmacSha1_32);
    call.a.session.send_dtmf(Digit::parse('5').unwrap(), Duration::from_millis(100)).unwrap();
    let (mut read, mut tries) = (0, 0);
    for ms in 1..10_000 {
        call.run(Time::ms(ms));
        while let Some((_, datagram)) = call.a.sent.get(read).cloned() {
            for forged in attack(read as u32, &datagram) {
                call.b.session.receive(call.now, forged.from, forged.port, &forged.bytes);
                tries += 1;
            }
            read += 1;
        }
        call.drain();
    }
    let frames = call.b.frames.iter().map(|frame| (frame.timestamp, frame.pcm.clone())).collect();
    let stats = call.b.session.stats();
    ((frames, call.b.events, call.b.sent), stats, tries)
}

#[test]
fn who_reads_the_call_and_forges_its_addresses_but_has_no_key_changes_nothing_in_20_000_tries() {
    let (quiet, _, _) = attacked(|_, _| vec![]);
    assert!(quiet.1.iter().any(|(_, event)| matches!(event, Event::Digit { .. })));
    let mut foreign = Srtp::new(&keys(Suite::AesCm128HmacSha1_32, 90).0);
    let mut earlier: Vec<Datagram> = vec![];
    let (loud, stats, tries) = attacked(|n, genuine| {
        let with = |bytes: Vec<u8>| Datagram { bytes, ..genuine.clone() };
        let mut forged = vec![];
        // It is ahead of the genuine one, which is on its way for 40 ms: with one bit changed, in 30 places.
        for place in 0..30 {
            let mut bytes = genuine.bytes.clone();
            let bit = (n as usize * 131 + place * 977) % (bytes.len() * 8 - 16) + 16;
            bytes[bit / 8] ^= 1 << (bit % 8);
            forged.push(with(bytes));
        }
        // Shorter and longer, in plain, under another key, with a tag that is guessed.
        forged.push(with(genuine.bytes[..genuine.bytes.len() - 1].to_vec()));
        forged.push(with([&genuine.bytes[..], &[0]].concat()));
        let mut plain = genuine.bytes[..genuine.bytes.len() - 4].to_vec();
        forged.push(with(plain.clone()));
        if !is_rtcp(&plain) && foreign.protect_rtp(&mut plain).is_ok() {
            forged.push(with(plain));
        }
        let mut guessed = genuine.bytes.clone();
        let tag = guessed.len() - 4;
        guessed[tag..].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
        forged.push(with(guessed));
        // A goodbye in plain, and one that says it is encrypted.
        let ssrc = if is_rtcp(&genuine.bytes) { 4..8 } else { 8..12 };
        let mut bye = vec![0x80, 201, 0, 1];
        bye.extend_from_slice(&genuine.bytes[ssrc.clone()]);
        bye.extend_from_slice(&[0x81, 203, 0, 1]);
        bye.extend_from_slice(&genuine.bytes[ssrc]);
        let mut port = genuine.from;
        port.set_port(A.parse::<std::net::SocketAddr>().unwrap().port() + 1);
        let goodbye = |bytes| Datagram { from: port, port: Port::Rtcp, bytes, ..genuine.clone() };
        forged.push(goodbye(bye.clone()));
        bye.extend_from_slice(&(1 << 31 | n).to_be_bytes());
        bye.extend_from_slice(&[n as u8; 10]);
        forged.push(goodbye(bye));
        // And everything of the last second once more, now and then.
        earlier.push(genuine.clone());
        if n % 25 == 0 {
            forged.extend(earlier.iter().rev().skip(5).take(50).cloned());
        }
        forged
    });
    assert!(tries >= 20_000, "{tries}");
    assert_eq!(refused(&stats), tries, "each by one reason: {stats:?}");
    assert!(stats.srtp_replayed > 500 && stats.srtp_bad_tag > 15_000, "{stats:?}");
    assert!(loud == quiet, "not a sample, event or packet differs");
}

#[test]
fn rfc3711_3_3_1_a_new_ssrc_begins_in_the_lower_half_whatever_the_old_one_had_reached() {
    use roomkit_media::session::{Fill, Output, Session, SessionConfig};
    let suite = Suite::AesCm128HmacSha1_80;
    let far: std::net::SocketAddr = B.parse().unwrap();
    let mut config = SessionConfig::pcmu(Some(far));
    config.srtp = Some(keys(suite, 1).0);
    config.fill = Fill::Silence;
    let next = |session: &mut Session| {
        session.handle_deadline(session.deadline());
        let output = std::iter::from_fn(|| session.poll());
        let sent = output.filter_map(|output| match output {
            Output::Datagram { bytes, .. } if !is_rtcp(&bytes) => Some(bytes),
            _ => None,
        });
        let bytes = sent.last().expect("a packet in every frame");
        u16::from_be_bytes([bytes[2], bytes[3]])
    };
    // One that soon reaches the upper half.
    let mut session = (0..10_000)
        .map(|seed| Session::new(config.clone(), Time::ZERO, seed).unwrap())
        .find_map(|mut session| (next(&mut session) > 32_600).then_some(session))
        .expect("one in 200");
    while next(&mut session) < 33_000 {}
    let header = RtpHeader {
        marker: false,
        payload_type: 0,
        seq: SeqNo(9),
        timestamp: RtpTime(9),
        ssrc: session.ssrc(),
    };
    let mut packet = Vec::new();
    header.write(&mut packet);
    packet.extend_from_slice(&[0x55; 160]);
    Srtp::new(&keys(suite, 1).1).protect_rtp(&mut packet).unwrap();
    session.receive(session.deadline(), far, Port::Rtp, &packet);
    assert_ne!(session.ssrc(), header.ssrc);
    assert!(next(&mut session) < 1 << 15);
}
