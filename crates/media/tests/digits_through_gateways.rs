//! One press is one press, whatever a gateway does to its packets, and two quick ones stay two: each kind of gateway on a good
//! network, and all of them on bad ones, against what was pressed.

mod common;

use common::gateway::{
    any, bad, over, presses, signal, told, Counts, Gateway, Marks, Packet, Press, Stamps, AUDIO,
    EVENT, GOOD, PLAIN,
};
use roomkit_media::codec::CodecSpec;
use roomkit_media::rng::Rng;
use roomkit_media::rtp::RtpHeader;
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{Event, EventType, Output, Port, RtcpMode, Session, SessionConfig};
use roomkit_media::time::Time;

/// What a session tells of what arrives. `clocks`: of events and of audio, as they were agreed on, in kHz.
fn hear_at(arrived: &[Packet], clocks: (u32, u32), inband: bool) -> String {
    let far = "192.0.2.9:30000".parse().unwrap();
    let mut config = SessionConfig::pcmu(Some(far));
    config.rtcp = RtcpMode::Off;
    config.dtmf_inband = inband;
    if clocks.1 != 8 {
        config.receive_codecs = vec![CodecSpec::l16(AUDIO + 97, clocks.1 * 1000, 1)];
    }
    config.receive_events = vec![EventType { payload_type: EVENT, clock_rate: clocks.0 * 1000 }];
    let mut session = Session::new(config, Time::ZERO, 3).unwrap();
    let mut keys = String::new();
    let mut run = |session: &mut Session, until: Time| {
        while session.deadline() < until {
            session.handle_deadline(session.deadline());
        }
        while let Some(output) = session.poll() {
            if let Output::Event(Event::Digit { digit, .. }) = output {
                keys.push(digit.as_char());
            }
        }
    };
    for packet in arrived {
        run(&mut session, packet.arrives);
        let mut payload_type = packet.payload_type;
        let payload = match packet.event {
            Some((code, end, ticks)) => {
                let [high, low] = ticks.to_be_bytes();
                vec![code, u8::from(end) << 7 | 10, high, low]
            }
            None if clocks.1 == 8 => vec![0xff; 160],
            None => {
                payload_type += 97;
                vec![0; clocks.1 as usize * 40]
            }
        };
        let header = RtpHeader {
            marker: packet.marker,
            payload_type,
            seq: SeqNo(packet.seq),
            timestamp: RtpTime(packet.timestamp),
            ssrc: Ssrc(packet.ssrc),
        };
        let mut bytes = vec![];
        header.write(&mut bytes);
        bytes.extend(payload);
        session.receive(packet.arrives, far, Port::Rtp, &bytes);
    }
    let last = arrived.last().map_or(Time::ZERO, |packet| packet.arrives);
    run(&mut session, last + std::time::Duration::from_secs(2));
    assert_eq!(session.stats().digits_received as usize, keys.len());
    keys
}

fn hear(arrived: &[Packet]) -> String {
    hear_at(arrived, (8, 8), false)
}

/// Keys one after another, each held and followed by a gap, in milliseconds.
fn typed(keys: &str, held: u64, gap: u64) -> Vec<Press> {
    let press = |(n, key)| Press { key, at: 600 + n as u64 * (held + gap), held };
    keys.chars().enumerate().map(press).collect()
}

fn assert_heard(gateway: Gateway, keys: &str, held: u64, gap: u64) {
    let presses = typed(keys, held, gap);
    let sent = signal(gateway, &presses, 600 + (held + gap) * keys.len() as u64 + 1000);
    let heard = hear_at(&over(GOOD, &sent, 0), clocks_of(gateway), false);
    assert_eq!(heard, keys, "{held} ms, gap {gap} ms: {gateway:?}");
}

fn clocks_of(gateway: Gateway) -> (u32, u32) {
    (gateway.clocks.0 as u32, gateway.clocks.1 as u32)
}

/// Gateways and networks that are drawn: thousands where that is quick.
const RUNS: u64 = if cfg!(debug_assertions) { 500 } else { 5000 };

/// From the shortest that there is (ITU-T Q.24 §2.3) to what people press.
const LENGTHS: [(u64, u64); 5] = [(40, 40), (60, 60), (160, 80), (100, 300), (400, 1500)];

#[test]
fn each_kind_of_gateway_is_understood() {
    use Stamps::{AllAreAudio, EndsAreAudio, EndsStep, Fixed, LastIsAudio};
    for stamps in [Fixed, EndsStep, EndsAreAudio, LastIsAudio, AllAreAudio] {
        for counts in [Counts::Grow, Counts::FromZero, Counts::Constant] {
            for marks in [Marks::First, Marks::None, Marks::All] {
                for (audio, beside) in [(true, false), (true, true), (false, false)] {
                    for (every, ends, ends_every) in
                        [(20, 3, 20), (20, 3, 0), (20, 1, 20), (50, 3, 0)]
                    {
                        let gateway = Gateway {
                            stamps,
                            counts,
                            marks,
                            every,
                            ends,
                            ends_every,
                            audio,
                            beside,
                            ..PLAIN
                        };
                        for (held, gap) in LENGTHS.into_iter().filter(|(held, _)| *held > every) {
                            assert_heard(gateway, "11121", held, gap);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn presses_of_which_only_ends_are_sent_are_told_once_each() {
    for stamps in [Stamps::Fixed, Stamps::EndsStep, Stamps::EndsAreAudio, Stamps::LastIsAudio] {
        for marks in [Marks::First, Marks::None] {
            for (ends, ends_every) in [(3, 20), (3, 0), (1, 20)] {
                for beside in [false, true] {
                    let gateway = Gateway {
                        stamps,
                        marks,
                        ends,
                        ends_every,
                        beside,
                        ends_only: true,
                        ..PLAIN
                    };
                    for (held, gap) in LENGTHS {
                        assert_heard(gateway, "11121", held, gap);
                    }
                }
            }
        }
    }
}

#[test]
fn timestamps_that_stand_still_over_presses_are_understood_by_markers_or_keys() {
    for counts in [Counts::Grow, Counts::FromZero, Counts::Constant] {
        let gateway = Gateway { stamps: Stamps::Frozen, counts, audio: false, ..PLAIN };
        for (held, gap) in LENGTHS {
            assert_heard(gateway, "11121", held, gap);
            assert_heard(Gateway { marks: Marks::None, ..gateway }, "1232#", held, gap);
        }
    }
    // Where durations grow, they show the beginning of a press as well.
    let gateway = Gateway { stamps: Stamps::Frozen, marks: Marks::None, audio: false, ..PLAIN };
    for (held, gap) in LENGTHS {
        assert_heard(gateway, "11121", held, gap);
    }
}

#[test]
fn each_packet_may_tell_the_whole_length_of_its_press() {
    for marks in [Marks::First, Marks::None] {
        let gateway = Gateway { counts: Counts::Whole, marks, ..PLAIN };
        for (held, gap) in LENGTHS {
            assert_heard(gateway, "11121", held, gap);
        }
    }
}

#[test]
fn a_source_that_takes_another_name_in_the_middle_of_a_press_goes_on_with_it() {
    for audio in [true, false] {
        for beside in [audio, false] {
            for held in [400, 700] {
                let gateway = Gateway { renamed: true, audio, beside, ..PLAIN };
                assert_heard(gateway, "11121", held, 300);
            }
        }
    }
}

#[test]
fn events_may_count_at_another_clock_than_the_audio_and_than_was_agreed_on() {
    for marks in [Marks::First, Marks::None] {
        for (held, gap) in LENGTHS {
            for stamps in [Stamps::Fixed, Stamps::EndsStep, Stamps::EndsAreAudio] {
                let gateway = Gateway { stamps, marks, clocks: (8, 48), ..PLAIN };
                assert_heard(gateway, "11121", held, gap);
            }
            // The durations, and then the timestamps, are of the other clock than what both said.
            for (clocks, agreed) in [((8, 48), (48, 48)), ((48, 48), (8, 48)), ((8, 8), (8, 48))] {
                let gateway = Gateway { marks, clocks, ..PLAIN };
                let presses = typed("11121", held, gap);
                let until = 600 + (held + gap) * 5 + 1000;
                let arrived = over(GOOD, &signal(gateway, &presses, until), 0);
                let heard = hear_at(&arrived, agreed, false);
                assert_eq!(heard, "11121", "{held} ms, gap {gap} ms: {agreed:?}, {gateway:?}");
            }
        }
    }
}

#[test]
fn the_shortest_keys_with_the_shortest_gap_stay_two_on_a_bad_network() {
    let mut wrong = vec![];
    for seed in 0..1000 {
        let mut rng = Rng::new(seed);
        let marks = if rng.chance(0.5) { Marks::First } else { Marks::None };
        let gateway = Gateway { marks, beside: rng.chance(0.5), ..PLAIN };
        let presses = typed("11", 40, 40);
        let arrived = over(bad(0.2 * rng.unit()), &signal(gateway, &presses, 1800), seed);
        if hear(&arrived) != told(&presses, &arrived) {
            wrong.push(seed);
        }
    }
    // Where most packets of a press are lost, and the rest of the other are held up for longer than the gap, nobody can tell.
    assert!(wrong.len() < 5, "{wrong:?}");
}

#[test]
fn exactly_what_was_pressed_is_told_through_any_gateway_on_any_network() {
    let mut pressed = 0;
    for seed in 0..RUNS {
        let mut rng = Rng::new(seed);
        let (gateway, presses) = (any(&mut rng), presses(&mut rng, 600));
        let until = presses.last().unwrap().at + 1500;
        let arrived = over(bad(0.2 * rng.unit()), &signal(gateway, &presses, until), seed);
        assert_eq!(hear(&arrived), told(&presses, &arrived), "seed {seed}: {gateway:?}");
        pressed += presses.len();
    }
    assert!(pressed as u64 > 3 * RUNS, "{pressed}");
}
