//! The attack suite: whole calls under attack, on virtual time, from a seed.
//!
//! Every attack is measured against the same call without it. The attacker succeeds with a try if anything differs that
//! a person or a program could notice: a sample heard at either end, an event, a packet sent, the time or the address it
//! is sent to, a count that is not one of refusals. There are at least 10 000 tries of each attack, and no success.
//!
//! What an attacker needs in order to get further than here, and how far that is, is in `attacks_beyond_addresses.rs`.

mod common;

use common::{voice, Call, A};
use roomkit_media::dtmf::Digit;
use roomkit_media::rng::Rng;
use roomkit_media::rtcp::write_compound;
use roomkit_media::rtp::{RtpHeader, RtpPacket};
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{Event, Output, Port, RtcpMode, Session, SessionConfig};
use roomkit_media::source::Policy;
use roomkit_media::stats::Stats;
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{Jitter, LinkConfig, Loss};
use std::net::SocketAddr;

/// One a millisecond, for as long as the attack goes on.
const TRIES: u64 = 10_000;

/// Who may talk, and whether signalling told where the far end is.
const SETTINGS: [(Policy, bool); 6] = [
    (Policy::Strict, true),
    (Policy::Host, true),
    (Policy::Learn, true),
    (Policy::Learn, false),
    (Policy::Follow, true),
    (Policy::Follow, false),
];

/// What the attacker has read of the call: the most that can be known of it.
struct Knowledge {
    /// The packets of the far end, RTP and RTCP, up to now.
    packets: Vec<(Port, Vec<u8>)>,
    ssrc: Ssrc,
    seq: SeqNo,
    timestamp: RtpTime,
}

struct Attacker {
    rng: Rng,
    /// Where it sends from, for attacks that come from one place.
    addr: SocketAddr,
    seq: SeqNo,
}

impl Attacker {
    /// Some other host, or another port of the far end's host.
    fn stranger(&mut self, on_the_host: bool) -> SocketAddr {
        let host = if on_the_host {
            [192, 0, 2, 1]
        } else {
            (self.rng.next_u32() | 1 << 31).to_be_bytes()
        };
        // Ports below the far end's two.
        SocketAddr::from((host, 1024 + self.rng.next_u16() % 8000))
    }

    fn rtp(&mut self, payload_type: u8, ssrc: Ssrc, seq: SeqNo, timestamp: RtpTime) -> Vec<u8> {
        let mut bytes = Vec::new();
        let marker = self.rng.chance(0.5);
        RtpHeader { marker, payload_type, seq, timestamp, ssrc }.write(&mut bytes);
        // Loud noise: what of it is heard is heard.
        bytes.extend((0..160).map(|_| self.rng.next_u16() as u8));
        bytes
    }

    fn digit(&mut self, ssrc: Ssrc, seq: SeqNo, timestamp: RtpTime) -> Vec<u8> {
        let mut bytes = self.rtp(101, ssrc, seq, timestamp);
        bytes.truncate(12);
        bytes.extend([5, 0x80 | 10, 4, 0]);
        bytes
    }

    fn goodbye(&mut self, ssrc: Ssrc) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_compound(&mut bytes, ssrc, None, &[], "far", &[], Some("forged"));
        bytes
    }
}

/// The far end's SSRC is not to be hit by chance, which is the next file's affair.
fn other_ssrc(rng: &mut Rng, known: &Knowledge) -> Ssrc {
    let ssrc = Ssrc(rng.next_u32());
    if ssrc == known.ssrc {
        Ssrc(ssrc.0 ^ 1)
    } else {
        ssrc
    }
}

type Blow = (SocketAddr, Port, Vec<u8>);
type Attack<'a> = &'a dyn Fn(&mut Attacker, &Knowledge, u64) -> Vec<Blow>;

/// A call in which `a` speaks and dials, and `b` answers, over a link that jitters and loses. `attack` is asked at every
/// millisecond from `from` on, for `for_ms`, what it sends to `b`.
fn call(
    (policy, signalled): (Policy, bool),
    rtcp: RtcpMode,
    from: u64,
    for_ms: u64,
    attack: Option<Attack<'_>>,
) -> Call {
    let link = LinkConfig {
        delay: Duration::from_millis(30),
        jitter: Jitter::Uniform(Duration::from_millis(20)),
        loss: Loss::Random(0.02),
        ..LinkConfig::default()
    };
    let settings = |config: &mut SessionConfig| {
        config.rtcp = rtcp;
        config.rtcp_interval = Duration::from_secs(1);
    };
    let mut call = Call::between(link, 7, settings, |config| {
        settings(config);
        config.policy = policy;
        config.remote = config.remote.filter(|_| signalled);
    });
    let total = (from + for_ms + 500) as usize;
    call.a.play(1, voice(total * 8, 8000), 8000);
    call.b.play(1, voice(total * 8, 8000), 8000);
    let mut attacker = Attacker { rng: Rng::new(99), addr: A.parse().unwrap(), seq: SeqNo(0) };
    attacker.addr = attacker.stranger(false);
    for ms in 0..from + for_ms + 1500 {
        call.run(Time::ms(ms));
        if ms % 2000 == 1500 {
            let digit = Digit::parse('7').unwrap();
            call.a.session.send_dtmf(digit, Duration::from_millis(100)).unwrap();
        }
        let Some(attack) = attack.filter(|_| (from..from + for_ms).contains(&ms)) else { continue };
        let known = knowledge(&call);
        for (source, port, bytes) in attack(&mut attacker, &known, ms) {
            call.b.session.receive(call.now, source, port, &bytes);
            call.drain();
        }
    }
    call
}

fn knowledge(call: &Call) -> Knowledge {
    // The last few are all that any attack here makes use of.
    let sent = &call.a.sent[call.a.sent.len().saturating_sub(60)..];
    let packets: Vec<_> = sent.iter().map(|(_, sent)| (sent.port, sent.bytes.clone())).collect();
    let newest = packets.iter().rev().find_map(|(_, bytes)| RtpPacket::parse(bytes).ok());
    let (seq, timestamp) = newest.map_or_else(Default::default, |p| (p.seq, p.timestamp));
    Knowledge { ssrc: call.a.session.ssrc(), seq, timestamp, packets }
}

/// Counts without those that say what was refused.
fn effects(stats: Stats) -> Stats {
    Stats {
        keepalives_received: 0,
        malformed: 0,
        unknown_payload_type: 0,
        stranger: 0,
        stranger_host: 0,
        stranger_address: 0,
        stranger_ssrc: 0,
        stranger_meanwhile: 0,
        stranger_too_late: 0,
        stranger_unproven: 0,
        looped: 0,
        rtcp_malformed: 0,
        rtcp_stranger: 0,
        ..stats
    }
}

/// The same call twice, with and without the attack, from a second into it.
fn has_no_effect(rtcp: RtcpMode, for_ms: u64, attack: Attack<'_>) {
    for setting in SETTINGS {
        has_no_effect_in(setting, rtcp, 1000, for_ms, attack);
    }
}

fn has_no_effect_in(
    setting: (Policy, bool),
    rtcp: RtcpMode,
    from: u64,
    for_ms: u64,
    attack: Attack<'_>,
) {
    let quiet = call(setting, rtcp, from, for_ms, None);
    let attacked = call(setting, rtcp, from, for_ms, Some(attack));
    assert!(quiet.b.digits().len() as u64 >= for_ms / 2500, "the call itself is a call");
    assert!(quiet.b.frames.len() as u64 * 20 > for_ms);
    assert_eq!(quiet.b.events, attacked.b.events, "{setting:?}");
    assert!(quiet.b.frames == attacked.b.frames, "{setting:?}: something else was heard");
    assert!(quiet.b.sent == attacked.b.sent, "{setting:?}: something else was sent");
    assert!(quiet.a.frames == attacked.a.frames, "{setting:?}: the far end heard something else");
    let (quiet, attacked) = (quiet.b.session.stats(), attacked.b.session.stats());
    assert_eq!(effects(quiet), effects(attacked), "{setting:?}");
    let refused = |s: Stats| {
        s.malformed
            + s.keepalives_received
            + s.unknown_payload_type
            + s.stranger
            + s.looped
            + s.rtcp_malformed
            + s.rtcp_stranger
    };
    assert!(refused(attacked) > refused(quiet), "{setting:?}: the attack was counted");
}

#[test]
fn rtpbleed_a_spray_from_everywhere() {
    has_no_effect(RtcpMode::Separate, TRIES, &|attacker, known, ms| {
        let ssrc = other_ssrc(&mut attacker.rng, known);
        let (seq, at) = (SeqNo(attacker.rng.next_u16()), RtpTime(attacker.rng.next_u32()));
        let bytes = attacker.rtp([0, 8, 101, 13][ms as usize % 4], ssrc, seq, at);
        vec![(attacker.stranger(ms % 2 == 0), Port::Rtp, bytes)]
    });
}

#[test]
fn rtpbleed_a_steady_stream_from_one_address() {
    has_no_effect(RtcpMode::Separate, TRIES, &|attacker, known, ms| {
        let ssrc = Ssrc(known.ssrc.0 ^ 0x5555);
        attacker.seq = attacker.seq.plus(1);
        let at = RtpTime(ms as u32 * 160);
        vec![(attacker.addr, Port::Rtp, attacker.rtp(0, ssrc, attacker.seq, at))]
    });
}

#[test]
fn rtpbleed_before_the_far_end_speaks_where_its_address_or_host_is_signalled() {
    for setting in [(Policy::Strict, true), (Policy::Host, true)] {
        has_no_effect_in(setting, RtcpMode::Separate, 0, TRIES, &|attacker, known, ms| {
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
    has_no_effect(RtcpMode::Separate, TRIES, &|attacker, known, ms| {
        let step = attacker.rng.next_u16() % 6;
        let (seq, at) = (known.seq.plus(step), known.timestamp.plus(u32::from(step) * 160));
        let bytes = attacker.rtp(0, known.ssrc, seq, at);
        vec![(attacker.stranger(ms % 2 == 0), Port::Rtp, bytes)]
    });
}

#[test]
fn injection_by_who_reads_the_call_and_sends_its_continuation_from_one_address() {
    has_no_effect(RtcpMode::Separate, TRIES, &|attacker, known, _| {
        let step = 1 + attacker.rng.next_u16() % 3;
        let (seq, at) = (known.seq.plus(step), known.timestamp.plus(u32::from(step) * 160));
        vec![(attacker.addr, Port::Rtp, attacker.rtp(0, known.ssrc, seq, at))]
    });
}

#[test]
fn injection_at_the_forged_address_of_the_far_end_with_guessed_ssrcs() {
    has_no_effect(RtcpMode::Separate, TRIES, &|attacker, known, _| {
        let ssrc = other_ssrc(&mut attacker.rng, known);
        let bytes = attacker.rtp(0, ssrc, known.seq.plus(1), known.timestamp.plus(160));
        vec![(A.parse().unwrap(), Port::Rtp, bytes)]
    });
}

#[test]
fn hijack_by_another_ssrc_that_speaks_along_at_the_forged_address() {
    // Several streams, each whole, as a new source of the far end's would be.
    has_no_effect(RtcpMode::Separate, TRIES, &|attacker, known, ms| {
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
        has_no_effect(mode, TRIES, &|attacker, known, ms| {
            let bytes = attacker.goodbye(known.ssrc);
            let other = other_ssrc(&mut attacker.rng, known);
            let forged = attacker.goodbye(other);
            vec![(attacker.stranger(false), port, bytes), (at, port, forged)]
                .split_off((ms % 2) as usize)
        });
    }
}

#[test]
fn replay_of_the_call_itself_from_elsewhere() {
    has_no_effect(RtcpMode::Separate, TRIES, &|attacker, known, ms| {
        let at = usize::from(attacker.rng.next_u16()) % known.packets.len();
        let (port, bytes) = known.packets[at].clone();
        // Its RTCP from another port of its host would be its own: RTCP has a port of its own, whichever.
        let from = attacker.stranger(ms % 2 == 0 && port == Port::Rtp);
        vec![(from, port, bytes)]
    });
}

#[test]
fn digits_injected_from_elsewhere_and_as_another_source() {
    has_no_effect(RtcpMode::Separate, TRIES, &|attacker, known, ms| {
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
        has_no_effect_in(setting, RtcpMode::Separate, 1000, 2000, &|attacker, known, _| {
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
    let heard = call(setting, RtcpMode::Separate, 1000, 5, Some(attack));
    assert!(heard.b.events.iter().any(|(_, event)| matches!(event, Event::RemoteBye { .. })));
}
