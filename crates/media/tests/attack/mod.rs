//! A call and the same call under attack: what both have in common is what the attacker did not reach.

#![allow(dead_code, missing_docs)]

use crate::common::{voice, Call, A};
use roomkit_media::dtmf::Digit;
use roomkit_media::rng::Rng;
use roomkit_media::rtcp::write_compound;
use roomkit_media::rtp::{RtpHeader, RtpPacket};
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{Port, RtcpMode, SessionConfig};
use roomkit_media::source::Policy;
use roomkit_media::srtp::{MasterKey, SrtpConfig, Suite};
use roomkit_media::stats::Stats;
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{Jitter, LinkConfig, Loss};
use std::net::SocketAddr;

/// One a millisecond, for as long as the attack goes on.
pub const TRIES: u64 = 10_000;

/// Who may talk, and whether signalling told where the far end is.
pub const SETTINGS: [(Policy, bool); 6] = [
    (Policy::Strict, true),
    (Policy::Host, true),
    (Policy::Learn, true),
    (Policy::Learn, false),
    (Policy::Follow, true),
    (Policy::Follow, false),
];

/// What the attacker has read of the call: the most that can be known of it.
pub struct Knowledge {
    /// The packets of the far end, RTP and RTCP, that have arrived by now.
    pub packets: Vec<(Port, Vec<u8>)>,
    /// The newest packets of the end that is attacked.
    pub own: Vec<(Port, Vec<u8>)>,
    pub ssrc: Ssrc,
    pub seq: SeqNo,
    pub timestamp: RtpTime,
}

pub struct Attacker {
    pub rng: Rng,
    /// Where it sends from, for attacks that come from one place.
    pub addr: SocketAddr,
    pub seq: SeqNo,
}

impl Attacker {
    /// Some other host, or another port of the far end's host.
    pub fn stranger(&mut self, on_the_host: bool) -> SocketAddr {
        let host = if on_the_host {
            [192, 0, 2, 1]
        } else {
            (self.rng.next_u32() | 1 << 31).to_be_bytes()
        };
        // Ports below the far end's two.
        SocketAddr::from((host, 1024 + self.rng.next_u16() % 8000))
    }

    pub fn rtp(&mut self, payload_type: u8, ssrc: Ssrc, seq: SeqNo, timestamp: RtpTime) -> Vec<u8> {
        let mut bytes = Vec::new();
        let marker = self.rng.chance(0.5);
        RtpHeader { marker, payload_type, seq, timestamp, ssrc }.write(&mut bytes);
        // Loud noise: what of it is heard is heard.
        bytes.extend((0..160).map(|_| self.rng.next_u16() as u8));
        bytes
    }

    pub fn digit(&mut self, ssrc: Ssrc, seq: SeqNo, timestamp: RtpTime) -> Vec<u8> {
        let mut bytes = self.rtp(101, ssrc, seq, timestamp);
        bytes.truncate(12);
        bytes.extend([5, 0x80 | 10, 4, 0]);
        bytes
    }

    pub fn goodbye(&mut self, ssrc: Ssrc) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_compound(&mut bytes, ssrc, None, &[], "far", &[], Some("forged"));
        bytes
    }
}

/// The far end's SSRC is not to be hit by chance, which is the next file's affair.
pub fn other_ssrc(rng: &mut Rng, known: &Knowledge) -> Ssrc {
    let ssrc = Ssrc(rng.next_u32());
    if ssrc == known.ssrc {
        Ssrc(ssrc.0 ^ 1)
    } else {
        ssrc
    }
}

pub type Blow = (SocketAddr, Port, Vec<u8>);
pub type Attack<'a> = &'a dyn Fn(&mut Attacker, &Knowledge, u64) -> Vec<Blow>;

/// A call in which `a` speaks and dials, and `b` answers, over a link that jitters and loses. `attack` is asked at every
/// millisecond from `from` on, for `for_ms`, what it sends to `b`.
pub fn call(
    (policy, signalled): (Policy, bool),
    rtcp: RtcpMode,
    keyed: bool,
    from: u64,
    for_ms: u64,
    attack: Option<Attack<'_>>,
) -> Call {
    let link = LinkConfig {
        delay: Duration::from_millis(30),
        jitter: Jitter::Uniform(Duration::from_millis(20)),
        // A packet that was lost and is delivered by the attacker is no attack, but a help; only keys let it be taken.
        loss: if keyed { Loss::None } else { Loss::Random(0.02) },
        ..LinkConfig::default()
    };
    let settings = |config: &mut SessionConfig| {
        config.rtcp = rtcp;
        config.rtcp_interval = Duration::from_secs(1);
    };
    let key = |fill| MasterKey::new(Suite::AesCm128HmacSha1_80, &[fill; 30], &[], None).unwrap();
    let keys =
        |send, receive| keyed.then(|| SrtpConfig { send: key(send), receive: vec![key(receive)] });
    let speaks = |config: &mut SessionConfig| {
        settings(config);
        config.srtp = keys(1, 2);
    };
    let mut call = Call::between(link, 7, speaks, |config| {
        settings(config);
        config.srtp = keys(2, 1);
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
    let arrived = sent.iter().filter(|(at, _)| call.now - *at > Duration::from_millis(60));
    let packets: Vec<_> = arrived.map(|(_, sent)| (sent.port, sent.bytes.clone())).collect();
    let newest = sent.iter().rev().find_map(|(_, sent)| RtpPacket::parse(&sent.bytes).ok());
    let (seq, timestamp) = newest.map_or_else(Default::default, |p| (p.seq, p.timestamp));
    let own = call.b.sent[call.b.sent.len().saturating_sub(60)..].iter();
    let own = own.map(|(_, sent)| (sent.port, sent.bytes.clone())).collect();
    Knowledge { own, ssrc: call.a.session.ssrc(), seq, timestamp, packets }
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
        reflected: 0,
        rtcp_malformed: 0,
        rtcp_stranger: 0,
        rtcp_rate_limited: 0,
        srtp_bad_tag: 0,
        srtp_replayed: 0,
        srtp_malformed: 0,
        srtp_unkeyed: 0,
        srtp_unencrypted: 0,
        srtp_overflow: 0,
        ..stats
    }
}

/// The same call twice, with and without the attack, from a second into it.
pub fn has_no_effect(rtcp: RtcpMode, keyed: bool, for_ms: u64, attack: Attack<'_>) {
    for setting in SETTINGS {
        has_no_effect_in(setting, rtcp, keyed, 1000, for_ms, attack);
    }
}

pub fn has_no_effect_in(
    setting: (Policy, bool),
    rtcp: RtcpMode,
    keyed: bool,
    from: u64,
    for_ms: u64,
    attack: Attack<'_>,
) {
    let quiet = call(setting, rtcp, keyed, from, for_ms, None);
    let attacked = call(setting, rtcp, keyed, from, for_ms, Some(attack));
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
            + s.reflected
            + s.rtcp_malformed
            + s.rtcp_stranger
            + s.srtp_bad_tag
            + s.srtp_replayed
            + s.srtp_malformed
            + s.srtp_unencrypted
    };
    assert!(refused(attacked) > refused(quiet), "{setting:?}: the attack was counted");
}
