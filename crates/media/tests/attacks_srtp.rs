//! The attack suite where everything is encrypted (SRTP): who forges every address and reads every packet has no success
//! either. The measure is that of `attacks.rs`.

mod attack;
mod common;

use attack::{has_no_effect, has_no_effect_in, Attacker, Blow, Knowledge, SETTINGS, TRIES};
use common::{good, voice, Call, A};
use roomkit_media::session::{Port, RtcpMode, SessionConfig};
use roomkit_media::source::Policy;
use roomkit_media::srtp::{MasterKey, SrtpConfig, Suite};
use roomkit_media::time::Time;
use std::net::SocketAddr;

/// The far end's own address for one of its ports, forged.
fn forged(port: Port) -> SocketAddr {
    let mut addr: SocketAddr = A.parse().unwrap();
    addr.set_port(addr.port() + u16::from(port == Port::Rtcp));
    addr
}

/// One of the far end's packets that have arrived, RTP or RTCP.
fn one_of(attacker: &mut Attacker, known: &Knowledge) -> (Port, Vec<u8>) {
    known.packets[usize::from(attacker.rng.next_u16()) % known.packets.len()].clone()
}

#[test]
fn rfc3711_3_3_2_replay_at_the_forged_address_and_from_elsewhere() {
    has_no_effect(RtcpMode::Separate, true, TRIES, &|attacker, known, ms| {
        let (port, bytes) = one_of(attacker, known);
        let from = if ms % 2 == 0 { forged(port) } else { attacker.stranger(ms % 4 == 1) };
        vec![(from, port, bytes)]
    });
}

#[test]
fn one_bit_changed_anywhere_in_a_packet_of_the_far_end() {
    has_no_effect(RtcpMode::Separate, true, TRIES, &|attacker, known, _| {
        let (port, mut bytes) = one_of(attacker, known);
        let bit = attacker.rng.next_u64() as usize % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        vec![(forged(port), port, bytes)]
    });
}

#[test]
fn the_next_packet_in_clear_and_with_a_guessed_tag_audio_digits_and_goodbyes() {
    has_no_effect(RtcpMode::Separate, true, TRIES, &|attacker, known, ms| {
        let (ssrc, seq, at) = (known.ssrc, known.seq.plus(1), known.timestamp.plus(160));
        let (port, mut bytes) = match ms % 3 {
            0 => (Port::Rtp, attacker.rtp(0, ssrc, seq, at)),
            1 => (Port::Rtp, attacker.digit(ssrc, seq, at)),
            _ => (Port::Rtcp, attacker.goodbye(ssrc)),
        };
        if ms % 2 == 0 {
            bytes.extend((0..14).map(|_| attacker.rng.next_u16() as u8));
        }
        vec![(forged(port), port, bytes)]
    });
}

#[test]
fn a_flood_of_forged_packets_of_the_far_end_s_ssrc() {
    for setting in [(Policy::Host, true), (Policy::Follow, false)] {
        has_no_effect_in(setting, RtcpMode::Separate, true, 1000, 1000, &|attacker, known, _| {
            let blow = |n: u16| -> Blow {
                let (seq, at) = (known.seq.plus(n % 8), known.timestamp.plus(160));
                let mut bytes = attacker.rtp(0, known.ssrc, seq, at);
                bytes.extend([7; 10]);
                (forged(Port::Rtp), Port::Rtp, bytes)
            };
            (0..50).map(blow).collect()
        });
    }
}

#[test]
fn who_is_faster_than_the_far_end_s_own_packets_can_have_ours_sent_to_it_and_nothing_else() {
    // On the path, delivering each packet from another address before it arrives: a relay, as a NAT is. It hears only
    // what is encrypted, and the far end has its call back with its next packet.
    let attacker: SocketAddr = "203.0.113.66:9".parse().unwrap();
    let key = |fill| MasterKey::new(Suite::AeadAes128Gcm, &[fill; 28], &[], None).unwrap();
    let keys = |send, receive| Some(SrtpConfig { send: key(send), receive: vec![key(receive)] });
    for (policy, _) in SETTINGS {
        let mut call = Call::between(
            good(),
            1,
            |config: &mut SessionConfig| config.srtp = keys(1, 2),
            |config| {
                config.srtp = keys(2, 1);
                config.policy = policy;
            },
        );
        call.a.play(1, voice(5 * 8000, 8000), 8000);
        call.b.play(1, voice(5 * 8000, 8000), 8000);
        let (mut delivered, mut diverted) = (0, 0);
        for ms in 0..4000 {
            call.run(Time::ms(ms));
            let sent = call.a.sent.len();
            for n in delivered..sent {
                let (at, datagram) = &call.a.sent[n];
                if (Time::secs(1)..Time::secs(2)).contains(at) && datagram.port == Port::Rtp {
                    let bytes = datagram.bytes.clone();
                    call.b.session.receive(call.now, attacker, Port::Rtp, &bytes);
                }
            }
            delivered = sent;
            call.drain();
            diverted += usize::from(call.b.session.destination() == Some(attacker));
        }
        let stats = call.b.session.stats();
        assert_eq!(stats.packets_lost, 0, "{policy:?}");
        // Who is heard a way of 40 ms earlier is heard with less delay, until that way ends.
        assert!(stats.frames_concealed <= 5, "{policy:?} {stats:?}");
        assert_eq!(call.b.session.destination(), Some(A.parse().unwrap()), "{policy:?}");
        match policy {
            Policy::Strict | Policy::Host => assert_eq!(diverted, 0, "{policy:?}"),
            Policy::Learn | Policy::Follow => {
                assert!((900..1100).contains(&diverted), "{policy:?}: {diverted} ms");
            }
        }
    }
}
