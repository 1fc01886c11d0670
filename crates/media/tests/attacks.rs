//! The attack suite: whole calls under attack, on virtual time, from a seed.
//!
//! Every attack is measured against the same call without it. The attacker succeeds with a try if anything differs that
//! a person or a program could notice: a sample heard at either end, an event, a packet sent, the time or the address it
//! is sent to, a count that is not one of refusals. There are at least 10 000 tries of each attack, and no success.
//!
//! What an attacker needs in order to get further than here, and how far that is, is in `attacks_beyond_addresses.rs`.

mod attack;
mod common;

use attack::{
    call, has_no_effect, has_no_effect_in, other_ssrc, Attack, Attacker, SETTINGS, TRIES,
};
use common::A;
use roomkit_media::rng::Rng;
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{Event, Output, Port, RtcpMode, Session, SessionConfig};
use roomkit_media::source::Policy;
use roomkit_media::time::Time;
use std::net::SocketAddr;

#[test]
fn rtpbleed_a_spray_from_everywhere() {
    has_no_effect(RtcpMode::Separate, false, TRIES, &|attacker, known, ms| {
        let ssrc = other_ssrc(&mut attacker.rng, known);
        let (seq, at) = (SeqNo(attacker.rng.next_u16()), RtpTime(attacker.rng.next_u32()));
        let bytes = attacker.rtp([0, 8, 101, 13][ms as usize % 4], ssrc, seq, at);
        vec![(attacker.stranger(ms % 2 == 0), Port::Rtp, bytes)]
    });
}

#[test]
fn rtpbleed_a_steady_stream_from_one_address() {
    has_no_effect(RtcpMode::Separate, false, TRIES, &|attacker, known, ms| {
        let ssrc = Ssrc(known.ssrc.0 ^ 0x5555);
        attacker.seq = attacker.seq.plus(1);
        let at = RtpTime(ms as u32 * 160);
        vec![(attacker.addr, Port::Rtp, attacker.rtp(0, ssrc, attacker.seq, at))]
    });
}

#[test]
fn rtpbleed_before_the_far_end_speaks_where_its_address_or_host_is_signalled() {
    for setting in [(Policy::Strict, true), (Policy::Host, true)] {
        has_no_effect_in(setting, RtcpMode::Separate, false, 0, TRIES, &|attacker, known, ms| {
            let ssrc = Ssrc(known.ssrc.0 ^ 0x5555);
            attacker.seq = attacker.seq.plus(1);
            let at = RtpTime(ms as u32 * 160);
            vec![(attacker.addr, Port::Rtp, attacker.rtp(0, ssrc, attacker.seq, at))]
        });
    }
}

#[test]
fn injection_by_who_reads_the_call_and_sends_from_elsewhere() {
    // SSRC, sequence and timestamp are right: the next packets, some later ones, and those just sent.
    has_no_effect(RtcpMode::Separate, false, TRIES, &|attacker, known, ms| {
        let step = attacker.rng.next_u16() % 6;
        let (seq, at) = (known.seq.plus(step), known.timestamp.plus(u32::from(step) * 160));
        let bytes = attacker.rtp(0, known.ssrc, seq, at);
        vec![(attacker.stranger(ms % 2 == 0), Port::Rtp, bytes)]
    });
}

#[test]
fn injection_by_who_reads_the_call_and_sends_its_continuation_from_one_address() {
    has_no_effect(RtcpMode::Separate, false, TRIES, &|attacker, known, _| {
        let step = 1 + attacker.rng.next_u16() % 3;
        let (seq, at) = (known.seq.plus(step), known.timestamp.plus(u32::from(step) * 160));
        vec![(attacker.addr, Port::Rtp, attacker.rtp(0, known.ssrc, seq, at))]
    });
}

#[test]
fn injection_at_the_forged_address_of_the_far_end_with_guessed_ssrcs() {
    has_no_effect(RtcpMode::Separate, false, TRIES, &|attacker, known, _| {
        let ssrc = other_ssrc(&mut attacker.rng, known);
        let bytes = attacker.rtp(0, ssrc, known.seq.plus(1), known.timestamp.plus(160));
        vec![(A.parse().unwrap(), Port::Rtp, bytes)]
    });
}

#[test]
fn hijack_by_another_ssrc_that_speaks_along_at_the_forged_address() {
    // Several streams, each whole, as a new source of the far end's would be.
    has_no_effect(RtcpMode::Separate, false, TRIES, &|attacker, known, ms| {
        let stream = (ms / 500) as u32;
        attacker.seq = attacker.seq.plus(1);
        let at = RtpTime(ms as u32 * 160);
        let ssrc = Ssrc(known.ssrc.0 ^ (1 + stream));
        vec![(A.parse().unwrap(), Port::Rtp, attacker.rtp(0, ssrc, attacker.seq, at))]
    });
}

#[test]
fn rtcp_goodbyes_forged() {
    let rtcp_port: SocketAddr = "192.0.2.1:10001".parse().unwrap();
    for (mode, port, at) in [
        (RtcpMode::Separate, Port::Rtcp, rtcp_port),
        (RtcpMode::Mux, Port::Rtp, A.parse().unwrap()),
    ] {
        // The right SSRC from elsewhere; another one from the far end's own address.
        has_no_effect(mode, false, TRIES, &|attacker, known, ms| {
            let bytes = attacker.goodbye(known.ssrc);
            let other = other_ssrc(&mut attacker.rng, known);
            let forged = attacker.goodbye(other);
            vec![(attacker.stranger(false), port, bytes), (at, port, forged)]
                .split_off((ms % 2) as usize)
        });
    }
}

#[test]
fn rtcp_goodbyes_forged_before_the_far_end_has_spoken() {
    for (policy, signalled) in SETTINGS.into_iter().filter(|(_, signalled)| *signalled) {
        let far: SocketAddr = A.parse().unwrap();
        let mut config = SessionConfig::pcmu(signalled.then_some(far));
        config.policy = policy;
        let mut session = Session::new(config, Time::ZERO, 5).unwrap();
        let mut attacker = Attacker { rng: Rng::new(3), addr: far, seq: SeqNo(0) };
        let mut goodbyes = |session: &mut Session, from: SocketAddr, ms: u64| {
            let ssrc = Ssrc(attacker.rng.next_u32());
            session.receive(Time::ms(ms), from, Port::Rtcp, &attacker.goodbye(ssrc));
            session.handle_deadline(Time::ms(ms + 40));
            std::iter::from_fn(|| session.poll())
                .filter(|told| matches!(told, Output::Event(Event::RemoteBye { .. })))
                .count()
        };
        let mut places = Attacker { rng: Rng::new(4), addr: far, seq: SeqNo(0) };
        for n in 0..TRIES {
            let from = places.stranger(n % 2 == 0);
            assert_eq!(goodbyes(&mut session, from, n), 0, "{policy:?} {from}");
        }
        let announced = SocketAddr::new(far.ip(), far.port() + 1);
        assert_eq!(goodbyes(&mut session, announced, TRIES + 100), 1, "the far end's own");
    }
}

#[test]
fn replay_of_the_call_itself_from_elsewhere() {
    has_no_effect(RtcpMode::Separate, false, TRIES, &|attacker, known, ms| {
        let at = usize::from(attacker.rng.next_u16()) % known.packets.len();
        let (port, bytes) = known.packets[at].clone();
        // Its RTCP from another port of its host would be its own: RTCP has a port of its own, whichever.
        let from = attacker.stranger(ms % 2 == 0 && port == Port::Rtp);
        vec![(from, port, bytes)]
    });
}

#[test]
fn digits_injected_from_elsewhere_and_as_another_source() {
    has_no_effect(RtcpMode::Separate, false, TRIES, &|attacker, known, ms| {
        let (seq, at) = (known.seq.plus(1), known.timestamp.plus(160));
        let (ssrc, from) = match ms % 3 {
            0 => (known.ssrc, attacker.stranger(true)),
            1 => (known.ssrc, attacker.addr),
            _ => (other_ssrc(&mut attacker.rng, known), A.parse().unwrap()),
        };
        vec![(from, Port::Rtp, attacker.digit(ssrc, seq, at))]
    });
}

#[test]
fn flood_of_50_000_datagrams_a_second() {
    for setting in [(Policy::Host, true), (Policy::Learn, false), (Policy::Follow, false)] {
        has_no_effect_in(setting, RtcpMode::Separate, false, 1000, 2000, &|attacker, known, _| {
            let blow = |n: u32| {
                let ssrc = other_ssrc(&mut attacker.rng, known);
                let (seq, at) = (SeqNo(attacker.rng.next_u16()), RtpTime(attacker.rng.next_u32()));
                let from = match n % 4 {
                    0 => A.parse().unwrap(),
                    1 => attacker.addr,
                    n => attacker.stranger(n == 2),
                };
                let mut bytes = attacker.rtp(0, ssrc, seq, at);
                if n % 5 == 0 {
                    bytes.truncate(usize::from(attacker.rng.next_u16()) % 30);
                }
                (from, Port::Rtp, bytes)
            };
            (0..50).map(blow).collect()
        });
    }
}

#[test]
fn reflection_no_datagram_of_a_stranger_is_ever_answered() {
    // STUN (RFC 5389), DNS, SIP, RTP, RTCP and noise, before and after a source has been learned.
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    for (policy, signalled) in SETTINGS {
        let far: SocketAddr = A.parse().unwrap();
        let mut config = SessionConfig::pcmu(signalled.then_some(far));
        config.policy = policy;
        let mut session = Session::new(config, Time::ZERO, 5).unwrap();
        let mut attacker = Attacker { rng: Rng::new(3), addr: far, seq: SeqNo(0) };
        let mut speaker = SeqNo(0);
        for ms in 0..TRIES {
            let now = Time::ms(ms);
            while session.deadline() <= now {
                session.handle_deadline(session.deadline());
            }
            // All that leaves goes to where signalling said, or to the source that is heard, and never before.
            while let Some(output) = session.poll() {
                if let Output::Datagram { to, .. } = output {
                    assert_eq!(to.ip(), far.ip(), "{policy:?}, {ms} ms");
                    assert!(signalled || session.source().is_some());
                }
            }
            let from = attacker.stranger(false);
            let ssrc = Ssrc(attacker.rng.next_u32());
            let (port, bytes) = match ms % 6 {
                0 => (Port::Rtp, stun.clone()),
                1 => (Port::Rtcp, stun.clone()),
                2 => (Port::Rtp, b"OPTIONS sip:x SIP/2.0\r\n\r\n".to_vec()),
                3 => (Port::Rtp, attacker.rtp(0, ssrc, SeqNo(7), RtpTime(7))),
                4 => (Port::Rtcp, attacker.goodbye(ssrc)),
                _ => {
                    let length = usize::from(attacker.rng.next_u16()) % 200;
                    let noise = (0..length).map(|_| attacker.rng.next_u16() as u8).collect();
                    (Port::Rtp, noise)
                }
            };
            session.receive(now, from, port, &bytes);
            assert_eq!(session.poll(), None, "an answer to a stranger");
            if ms > TRIES / 2 && ms % 20 == 0 {
                speaker = speaker.plus(1);
                let at = RtpTime(ms as u32 * 8);
                let bytes = attacker.rtp(0, Ssrc(1), speaker, at);
                session.receive(now, far, Port::Rtp, &bytes);
            }
        }
        assert_eq!(session.source(), Some((far, Ssrc(1))), "{policy:?}");
    }
}

#[test]
fn the_measure_itself_a_goodbye_of_the_far_end_is_noticed() {
    // Were it not, all of the above would pass whatever the attacks did.
    let setting = (Policy::Host, true);
    let attack: Attack<'_> = &|attacker, known, _| {
        vec![("192.0.2.1:10001".parse().unwrap(), Port::Rtcp, attacker.goodbye(known.ssrc))]
    };
    let heard = call(setting, RtcpMode::Separate, false, 1000, 5, Some(attack));
    assert!(heard.b.events.iter().any(|(_, event)| matches!(event, Event::RemoteBye { .. })));
}
