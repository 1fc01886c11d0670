//! The attack suite against the machine rather than the call: datagrams that are made to cost much. They change nothing of
//! the call, are counted by their reason, and who was kept from being searched for by a flood is heard when it is over.

mod attack;
mod common;

use attack::{has_no_effect, has_no_effect_in, other_ssrc, SETTINGS, TRIES};
use common::A;
use roomkit_media::rng::Rng;
use roomkit_media::rtcp::parse_compound;
use roomkit_media::rtp::RtpHeader;
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{Output, Port, RtcpMode, Session, SessionConfig};
use roomkit_media::source::Policy;
use roomkit_media::srtp::{MasterKey, Srtp, SrtpConfig, Suite};
use roomkit_media::stats::Stats;
use roomkit_media::time::Time;
use std::net::SocketAddr;

/// The largest payload of UDP.
const LARGEST: usize = 65_507;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Where the far end's RTCP comes from.
fn rtcp() -> SocketAddr {
    addr("192.0.2.1:10001")
}

fn header(ssrc: Ssrc, seq: SeqNo, timestamp: RtpTime) -> Vec<u8> {
    let mut bytes = Vec::new();
    RtpHeader { marker: false, payload_type: 0, seq, timestamp, ssrc }.write(&mut bytes);
    bytes
}

/// Compounds of 64 KiB and of the longest that is read, of very many packets, chunks, items or blocks.
fn compounds(ssrc: Ssrc) -> Vec<Vec<u8>> {
    let report = [&[0x80, 201, 0, 1][..], &ssrc.0.to_be_bytes()].concat();
    let packet = |first: u8, kind: u8, body: &[u8]| {
        let words = ((body.len() / 4) as u16).to_be_bytes();
        [&[0x80 | first, kind][..], &words, body].concat()
    };
    let chunk = [&[0, 0, 0, 5][..], &[1, 0].repeat(60), &[0; 4]].concat();
    let small = [
        packet(0, 210, &[]),
        packet(0, 203, &[]),
        packet(1, 202, &[0, 0, 0, 5, 1, 2, 97, 98, 0, 0, 0, 0]),
        packet(31, 202, &chunk.repeat(31)),
        packet(0, 207, &[&[0, 0, 0, 5][..], &[99, 0, 0, 0].repeat(400)].concat()),
        packet(31, 201, &[7; 4 + 31 * 24]),
    ];
    let fill = |size: usize, part: &[u8]| {
        [&report[..], &part.repeat((size - report.len()) / part.len())].concat()
    };
    small.iter().flat_map(|part| [LARGEST, 2048].map(|size| fill(size, part))).collect()
}

#[test]
fn audio_of_64_kib_in_the_far_end_s_own_sequence_at_its_forged_address() {
    has_no_effect(RtcpMode::Separate, false, TRIES / 10, &|_, known, _| {
        let mut bytes = header(known.ssrc, known.seq.plus(1), known.timestamp.plus(160));
        bytes.resize(LARGEST, 0x55);
        vec![(addr(A), Port::Rtp, bytes)]
    });
}

#[test]
fn rtcp_of_64_kib_and_of_very_many_packets_by_strangers() {
    has_no_effect(RtcpMode::Separate, false, TRIES / 10, &|attacker, known, ms| {
        let ssrc = if ms % 2 == 0 { known.ssrc } else { other_ssrc(&mut attacker.rng, known) };
        let from = attacker.stranger(false);
        compounds(ssrc).into_iter().map(|bytes| (from, Port::Rtcp, bytes)).collect()
    });
}

#[test]
fn rtcp_of_64_kib_and_of_very_many_packets_at_the_far_end_s_forged_address_and_ssrc() {
    for mode in [RtcpMode::Separate, RtcpMode::Mux] {
        let (from, port) = match mode {
            RtcpMode::Mux => (addr(A), Port::Rtp),
            _ => (rtcp(), Port::Rtcp),
        };
        for setting in [(Policy::Host, true), (Policy::Follow, false)] {
            has_no_effect_in(setting, mode, false, 1000, TRIES / 10, &|_, known, ms| {
                let all = compounds(known.ssrc);
                // Those that are read whole count as reports of the far end: that is what a forger of its address can do.
                let refused =
                    |bytes: &Vec<u8>| bytes.len() > 2048 || parse_compound(bytes).is_err();
                let all: Vec<_> = all.into_iter().filter(refused).collect();
                vec![(from, port, all[ms as usize % all.len()].clone())]
            });
        }
    }
}

#[test]
fn forged_packets_of_made_up_sources_under_encryption() {
    for setting in SETTINGS {
        has_no_effect_in(setting, RtcpMode::Separate, true, 1000, 1000, &|attacker, known, ms| {
            let stranger = attacker.stranger(ms % 2 == 0);
            let from = if ms % 3 == 0 { stranger } else { addr(A) };
            let blow = |_| {
                let ssrc = other_ssrc(&mut attacker.rng, known);
                let mut bytes = header(ssrc, SeqNo(attacker.rng.next_u16()), known.timestamp);
                bytes.resize(2000, 0x55);
                (from, Port::Rtp, bytes)
            };
            (0..50).map(blow).collect()
        });
    }
}

fn key(fill: u8) -> MasterKey {
    MasterKey::new(Suite::AesCm128HmacSha1_80, &[fill; 30], &[], None).unwrap()
}

/// The far end's keys and ours, as they are after so many changes.
fn keys(changes: u8) -> (SrtpConfig, SrtpConfig) {
    let (ours, theirs) = (key(200), key(1 + changes));
    (
        SrtpConfig { send: theirs.clone(), receive: vec![ours.clone()] },
        SrtpConfig { send: ours, receive: vec![theirs] },
    )
}

/// A session between a far end and a flood.
struct Flooded {
    session: Session,
    config: SessionConfig,
    far: Srtp,
    rng: Rng,
    ssrc: Ssrc,
    seq: u16,
    sent: u64,
}

impl Flooded {
    fn new(policy: Policy) -> Flooded {
        let mut config = SessionConfig::pcmu(Some(addr(A)));
        config.policy = policy;
        config.srtp = Some(keys(0).1);
        let session = Session::new(config.clone(), Time::ZERO, 4).unwrap();
        let far = Srtp::new(&keys(0).0);
        Flooded { session, config, far, rng: Rng::new(1), ssrc: Ssrc(9), seq: 40_000, sent: 0 }
    }

    fn rekey(&mut self, now: Time, changes: u8) {
        self.config.srtp = Some(keys(changes).1);
        self.session.update(now, &self.config).unwrap();
    }

    /// The far end's next packet.
    fn speak(&mut self, now: Time, from: SocketAddr) {
        let mut bytes = header(self.ssrc, SeqNo(self.seq), RtpTime(u32::from(self.seq) * 160));
        bytes.extend([0xff; 160]);
        self.far.protect_rtp(&mut bytes).unwrap();
        self.session.receive(now, from, Port::Rtp, &bytes);
        self.seq += 1;
        self.sent += 1;
    }

    /// A millisecond of the flood, under made up SSRCs or the far end's.
    fn flood(&mut self, now: Time, from: SocketAddr, known: bool) {
        for n in 0..20 {
            let ssrc = if known { self.ssrc } else { Ssrc(self.rng.next_u32()) };
            let seq = if known { SeqNo(self.seq.wrapping_add(n)) } else { SeqNo(n) };
            let mut bytes = header(ssrc, seq, RtpTime(0));
            bytes.resize(612, 0x55);
            self.session.receive(now, from, Port::Rtp, &bytes);
        }
    }

    /// The call goes on up to then.
    fn work(&mut self, now: Time) {
        while self.session.deadline() <= now {
            self.session.handle_deadline(self.session.deadline());
        }
        while let Some(output) = self.session.poll() {
            drop::<Output>(output);
        }
    }

    fn stats(&self) -> Stats {
        self.session.stats()
    }
}

#[test]
fn the_far_end_is_heard_whole_through_a_flood_from_its_own_address_and_changes_its_key_in_it() {
    for policy in [Policy::Strict, Policy::Host, Policy::Learn, Policy::Follow] {
        for known in [false, true] {
            let mut call = Flooded::new(policy);
            for ms in 0..3000u64 {
                let now = Time::ms(ms);
                if ms >= 200 {
                    call.flood(now, addr(A), known);
                }
                if (500..2000).contains(&ms) && ms % 100 == 0 {
                    let changes = (ms / 100 - 4) as u8;
                    call.rekey(now, changes);
                }
                if ms == 2100 {
                    call.far = Srtp::new(&keys(15).0);
                }
                if ms % 20 == 0 {
                    call.speak(now, addr(A));
                }
                call.work(now);
            }
            let stats = call.stats();
            assert_eq!(stats.packets_received, call.sent, "{policy:?} {known}");
            assert_eq!((stats.packets_lost, stats.frames_concealed), (0, 0), "{policy:?} {known}");
            assert!(known || stats.srtp_rate_limited > 20_000, "{}", stats.srtp_rate_limited);
            let refused = stats.srtp_rate_limited + stats.srtp_bad_tag + stats.srtp_replayed;
            assert_eq!(refused, 56_000, "each is counted once");
        }
    }
}

#[test]
fn who_is_new_is_heard_with_its_first_packet_when_the_flood_is_over_and_soon_within_it() {
    // A far end that has begun anew, at its own address and at another one; a flood from its own or from one stranger's.
    let other = "192.0.2.1:7000";
    for (from, flooder) in [(A, A), (other, other), (other, "198.51.100.1:9")] {
        let mut call = Flooded::new(Policy::Learn);
        for ms in (0..1000).step_by(20) {
            call.speak(Time::ms(ms), addr(A));
            call.work(Time::ms(ms));
        }
        for n in 1..=15 {
            call.rekey(Time::ms(1000), n);
        }
        for ms in 1000..3000 {
            call.flood(Time::ms(ms), addr(flooder), false);
            call.work(Time::ms(ms));
        }
        let before = call.stats();
        assert_eq!(before.packets_received, call.sent);
        assert!(before.srtp_rate_limited > 10_000);
        (call.far, call.ssrc) = (Srtp::new(&keys(15).0), Ssrc(10));
        call.speak(Time::ms(3001), addr(from));
        assert_eq!(call.stats().packets_received, call.sent, "{from} after {flooder}");
        assert_eq!(call.session.source(), Some((addr(from), Ssrc(10))));
    }
}

#[test]
fn longer_audio_is_taken_where_the_codec_has_it_and_as_soon_as_it_is_agreed_on() {
    use roomkit_media::codec::CodecSpec;
    let mut config = SessionConfig::pcmu(Some(addr(A)));
    let mut session = Session::new(config.clone(), Time::ZERO, 4).unwrap();
    let packet = |payload_type: u8, seq: u16, octets: usize| {
        let mut bytes = header(Ssrc(9), SeqNo(seq), RtpTime(u32::from(seq) * 1600));
        bytes[1] = payload_type;
        bytes.resize(12 + octets, 0);
        bytes
    };
    for seq in 0..3 {
        let now = Time::ms(200 * u64::from(seq));
        session.receive(now, addr(A), Port::Rtp, &packet(0, seq, 1600));
    }
    assert_eq!((session.stats().packets_received, session.stats().oversized), (3, 0));
    session.receive(Time::ms(600), addr(A), Port::Rtp, &packet(0, 3, 2048 - 12));
    session.receive(Time::ms(600), addr(A), Port::Rtp, &packet(0, 4, 2049 - 12));
    assert_eq!((session.stats().packets_received, session.stats().oversized), (4, 1));
    assert_eq!((session.longest(Port::Rtp), session.longest(Port::Rtcp)), (2048, 2048));
    // 200 ms of L16 at 48 kHz in stereo.
    config.receive_codecs = vec![CodecSpec::l16(96, 48_000, 2)];
    session.update(Time::ms(700), &config).unwrap();
    session.receive(Time::ms(800), addr(A), Port::Rtp, &packet(96, 4, 38_400));
    assert_eq!((session.stats().packets_received, session.stats().oversized), (5, 1));
    assert!(session.longest(Port::Rtp) > 38_400);
    session.receive(Time::ms(800), addr(A), Port::Rtp, &packet(96, 5, 60_000));
    assert_eq!(session.stats().oversized, 2);
    // A stranger's is a stranger's, however long.
    session.receive(Time::ms(801), addr("198.51.100.1:9"), Port::Rtp, &packet(96, 5, 60_000));
    assert_eq!((session.stats().oversized, session.stats().stranger_host), (2, 1));
}
