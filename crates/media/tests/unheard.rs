//! Packets come and nothing is heard: that is told, once, with its reason; and what is no fault is not told.

mod common;

use common::{good, voice, Call, A};
use roomkit_media::codec::opus::Settings;
use roomkit_media::codec::CodecSpec;
use roomkit_media::rtp::{RtpHeader, HEADER_LEN};
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{Direction, Event, Output, Port, Session, SessionConfig};
use roomkit_media::source::Policy;
use roomkit_media::srtp::{MasterKey, Srtp, SrtpConfig, Suite};
use roomkit_media::time::{Duration, Time};
use std::net::SocketAddr;

const ELSEWHERE: &str = "198.51.100.9:4000";
const CNG: u8 = 13;

/// A packet of 20 ms, told apart from the usual one of PCMU by what a test changes.
#[derive(Clone)]
struct Packet {
    from: SocketAddr,
    payload_type: u8,
    seq: u64,
    timestamp: u64,
    ssrc: u32,
    payload: Vec<u8>,
    /// What does not come as it should: the whole datagram.
    raw: Option<Vec<u8>>,
}

impl Packet {
    fn bytes(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut bytes = Vec::new();
        RtpHeader {
            marker: false,
            payload_type: self.payload_type,
            seq: SeqNo(60_000).plus(self.seq as u16),
            timestamp: RtpTime(u32::MAX - 9000).after_frames(self.timestamp, 1),
            ssrc: Ssrc(self.ssrc),
        }
        .write(&mut bytes);
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// A session, what it tells and when.
struct Line {
    session: Session,
    now_ms: u64,
    told: Vec<(u64, Event)>,
}

impl Line {
    fn new(change: impl Fn(&mut SessionConfig)) -> Line {
        let mut config = SessionConfig::pcmu(Some(A.parse().unwrap()));
        change(&mut config);
        let session = Session::new(config, Time::ZERO, 11).unwrap();
        Line { session, now_ms: 0, told: vec![] }
    }

    /// One packet each 20 ms for so long, the `n`th since the origin, and nothing where there is none.
    fn come(&mut self, for_ms: u64, packet: impl Fn(u64) -> Option<Packet>) {
        for _ in 0..for_ms / 20 {
            let n = self.now_ms / 20;
            if let Some(packet) = packet(n) {
                let at = Time::ms(self.now_ms + 7);
                self.session.receive(at, packet.from, Port::Rtp, &packet.bytes());
            }
            self.now_ms += 20;
            self.serve();
        }
    }

    fn serve(&mut self) {
        while self.session.deadline() <= Time::ms(self.now_ms) {
            let due = self.session.deadline();
            self.session.handle_deadline(due);
        }
        while let Some(output) = self.session.poll() {
            if let Output::Event(event @ (Event::Unheard { .. } | Event::HeardAgain)) = output {
                self.told.push((self.now_ms, event));
            }
        }
    }

    fn reasons(&self) -> Vec<&'static str> {
        let reason = |(_, event): &(u64, Event)| match event {
            Event::Unheard { reason } => Some(*reason),
            _ => None,
        };
        self.told.iter().filter_map(reason).collect()
    }
}

/// Packet `n` of a far end at whose microphone nothing is wrong.
fn fine(n: u64) -> Packet {
    let pcm: Vec<i16> = (0..160).map(|i| if i % 16 < 8 { 4000 } else { -4000 }).collect();
    let mut payload = vec![];
    CodecSpec::PCMU.encoder().encode(&pcm, &mut payload);
    let from = A.parse().unwrap();
    Packet { from, payload_type: 0, seq: n, timestamp: n * 160, ssrc: 5, payload, raw: None }
}

/// Something that goes wrong on the way, by the name of the counter that tells.
type Fault = (&'static str, fn(u64) -> Packet);

const FAULTS: [Fault; 6] = [
    ("unknown_payload_type", |n| Packet { payload_type: 3, ..fine(n) }),
    ("stranger_host", |n| Packet { from: ELSEWHERE.parse().unwrap(), ssrc: 6, ..fine(n) }),
    ("malformed", |n| Packet { raw: Some(vec![0x42; 172]), ..fine(n) }),
    ("doubtful", |n| Packet { seq: 20_000 + n % 2 * 20_000, ..fine(n) }),
    ("duplicate", |n| Packet { seq: 40, timestamp: 40 * 160, ..fine(n) }),
    // Of Opus, with a count of frames, and that is 0 (RFC 6716 §3.2.5).
    ("undecodable", |n| Packet { payload_type: 96, payload: vec![3, 0, 7, 7, 7, 7], ..fine(n) }),
];

/// These need nobody to have been heard before.
const FROM_THE_BEGINNING: [&str; 4] =
    ["unknown_payload_type", "stranger_host", "malformed", "undecodable"];

fn with_opus(config: &mut SessionConfig) {
    config.receive_codecs.push(CodecSpec::opus(96, 48_000, 2, Settings::default()));
}

#[test]
fn whatever_keeps_packets_from_being_heard_is_told_after_two_seconds_once_and_with_its_name() {
    for (reason, fault) in FAULTS {
        for before in [1000, 0] {
            if before == 0 && !FROM_THE_BEGINNING.contains(&reason) {
                continue;
            }
            let mut line = Line::new(with_opus);
            line.come(before, |n| Some(fine(n)));
            line.come(10_000, |n| Some(fault(n)));
            assert_eq!(line.reasons(), [reason]);
            let at = line.told[0].0 - before;
            assert!((2000..=2200).contains(&at), "{reason} after {before}: {at}");
            assert_eq!(line.session.stats().unheard, 1);
            // The two packets of a restart at the most, and what the jitter buffer holds back.
            line.come(1000, |n| Some(fine(n)));
            assert_eq!(line.told.len(), 2, "{reason} after {before}: {:?}", line.told);
            assert_eq!(line.told[1].1, Event::HeardAgain);
            assert!(line.told[1].0 - before <= 10_000 + 200, "{reason}: {:?}", line.told);
        }
    }
}

#[test]
fn a_fault_that_comes_again_is_told_again_and_one_that_lasts_less_is_not() {
    // What was a duplicate is a jump by then.
    for (reason, fault) in FAULTS.into_iter().filter(|(reason, _)| *reason != "duplicate") {
        let mut line = Line::new(with_opus);
        line.come(1000, |n| Some(fine(n)));
        for _ in 0..3 {
            line.come(1900, |n| Some(fault(n)));
            line.come(1000, |n| Some(fine(n)));
        }
        assert_eq!(line.told, [], "{reason}");
        for _ in 0..2 {
            line.come(2300, |n| Some(fault(n)));
            line.come(1000, |n| Some(fine(n)));
        }
        assert_eq!(line.reasons(), [reason; 2]);
    }
}

#[test]
fn of_several_reasons_that_of_most_packets_is_told() {
    let mut line = Line::new(with_opus);
    let (_, unknown) = FAULTS[0];
    let (_, malformed) = FAULTS[2];
    line.come(3000, |n| Some(if n % 3 == 0 { malformed(n) } else { unknown(n) }));
    assert_eq!(line.reasons(), ["unknown_payload_type"]);
}

fn key(fill: u8) -> MasterKey {
    let suite = Suite::AesCm128HmacSha1_80;
    MasterKey::new(suite, &vec![fill; suite.key_len() + suite.salt_len()], &[], None).unwrap()
}

#[test]
fn packets_under_a_key_that_is_not_the_agreed_one_are_told() {
    // Who is heard from the beginning, and who only before the far end took another key.
    for (before, last) in [(0, 0), (3000, 1)] {
        let config = |fill| SrtpConfig { send: key(fill), receive: vec![key(9)] };
        let mut far = [Srtp::new(&config(9)), Srtp::new(&config(8))];
        let mut line = Line::new(|c| c.srtp = Some(config(1)));
        let mut speak = |line: &mut Line, with: usize| {
            let n = line.now_ms / 20;
            let mut bytes = fine(n).bytes();
            far[with].protect_rtp(&mut bytes).unwrap();
            line.come(20, |n| Some(Packet { raw: Some(bytes.clone()), ..fine(n) }));
        };
        (0..before / 20).for_each(|_| speak(&mut line, 0));
        (0..150).for_each(|_| speak(&mut line, 1));
        assert_eq!(line.reasons(), ["srtp_bad_tag"], "{last}");
        let mos = line.session.stats().mos.unwrap();
        assert!(mos < 2.5, "{mos}");
    }
}

#[test]
fn what_is_no_speech_and_what_nobody_listens_to_is_no_fault() {
    type Case = (&'static str, fn(&mut SessionConfig), fn(u64) -> Option<Packet>);
    let cases: [Case; 12] = [
        ("nothing", |_| {}, |_| None),
        ("on hold", |c| c.direction = Direction::SendOnly, |n| Some(fine(n))),
        ("inactive", |c| c.direction = Direction::Inactive, |n| Some(fine(n))),
        ("keep-alives", |_| {}, |n| Some(Packet { payload: vec![], ..fine(n) })),
        (
            "keep-alives of an unknown type",
            |_| {},
            |n| Some(Packet { payload_type: 20, payload: vec![], ..fine(n) }),
        ),
        (
            "a digit",
            |_| {},
            |n| {
                let payload = vec![5, 10, 0, 160];
                Some(Packet { payload_type: 101, payload, timestamp: 0, ..fine(n) })
            },
        ),
        (
            "a digit under a number of its own",
            |_| {},
            |n| {
                let payload = vec![5, 10, 0, 160];
                Some(Packet { payload_type: 100, payload, timestamp: 0, ..fine(n) })
            },
        ),
        (
            "comfort noise",
            |_| {},
            |n| Some(Packet { payload_type: CNG, payload: vec![70; 11], ..fine(n) }),
        ),
        (
            "comfort noise, doubled on its way",
            |_| {},
            |n| {
                let (seq, timestamp) = (n / 2, n / 2 * 320);
                Some(Packet { payload_type: CNG, payload: vec![70; 11], seq, timestamp, ..fine(n) })
            },
        ),
        (
            "comfort noise that nobody agreed on",
            |c| c.receive_noise.clear(),
            |n| Some(Packet { payload_type: CNG, payload: vec![70; 11], ..fine(n) }),
        ),
        ("silence of Opus", with_opus, |n| {
            Some(Packet { payload_type: 96, payload: vec![0x78], timestamp: n * 960, ..fine(n) })
        }),
        ("early media, before the answer", |c| c.remote = None, |n| Some(fine(n))),
    ];
    for (what, change, packet) in cases {
        for before in [0, 1000] {
            let mut line = Line::new(change);
            line.come(before, |n| Some(fine(n)));
            line.come(10_000, packet);
            assert_eq!(line.told, [], "{what} after {before}");
            assert_eq!(line.session.stats().unheard, 0);
        }
    }
}

#[test]
fn what_comes_rarely_is_nobody_who_speaks() {
    // Checks of connectivity, damaged keep-alives: in a pause of the far end nothing else comes.
    for every in [25, 50] {
        let mut line = Line::new(|_| {});
        line.come(1000, |n| Some(fine(n)));
        line.come(30_000, |n| (n % every == 0).then(|| FAULTS[2].1(n)));
        assert_eq!(line.told, [], "every {every} frames");
    }
    // But packets as long as there are, half of them lost, are.
    let mut line = Line::new(|_| {});
    line.come(10_000, |n| (n % 20 == 0).then(|| FAULTS[0].1(n)));
    assert_eq!(line.reasons(), ["unknown_payload_type"]);
}

#[test]
fn who_slept_and_who_mutes_has_not_been_deaf() {
    let mut line = Line::new(|_| {});
    line.session.set_input_muted(true);
    line.come(5000, |n| Some(fine(n)));
    line.session.set_input_muted(false);
    for n in 250..600 {
        let at = Time::ms(n * 20 + 7);
        line.session.receive(at, A.parse().unwrap(), Port::Rtp, &fine(n).bytes());
    }
    line.now_ms = 12_000;
    line.serve();
    line.come(3000, |n| Some(fine(n)));
    assert_eq!(line.told, []);
}

#[test]
fn the_longest_delay_of_the_jitter_buffer_is_none() {
    let mut line = Line::new(|c| c.jitter_delay = Duration::from_millis(500));
    line.come(5000, |n| Some(fine(n)));
    assert_eq!(line.told, []);
}

#[test]
fn a_policy_that_learns_tells_of_those_who_cannot_be_understood() {
    let mut line = Line::new(|c| (c.remote, c.policy) = (None, Policy::Learn));
    line.come(3000, |n| Some(Packet { payload_type: 3, ..fine(n) }));
    assert_eq!(line.reasons(), ["unknown_payload_type"]);
}

#[test]
fn what_is_refused_is_lost_to_who_listens_and_a_flood_of_it_no_more_than_a_call() {
    for (reason, fault) in FAULTS.into_iter().filter(|(reason, _)| *reason != "undecodable") {
        let mut line = Line::new(with_opus);
        line.come(10_000, |n| Some(fine(n)));
        let before = line.session.stats();
        assert!(before.mos.unwrap() > 4.3, "{before:?}");
        line.come(10_000, |n| Some(fault(n)));
        let after = line.session.stats();
        assert!(after.mos.unwrap() < 2.0, "{reason}: {:?}", after.mos);
        assert!(after.burst_duration > Duration::from_secs(9), "{reason}: {after:?}");
        assert_eq!(after.packets_lost.max(0), 0, "the network has lost nothing");
    }
    let mos = |copies: usize| {
        let mut line = Line::new(|_| {});
        line.come(10_000, |n| Some(fine(n)));
        for n in 500..700 {
            for _ in 1..copies {
                let at = Time::ms(n * 20 + 5);
                line.session.receive(at, A.parse().unwrap(), Port::Rtp, &[0x42; 172]);
            }
            line.come(20, |n| Some(FAULTS[2].1(n)));
        }
        line.session.stats().mos.unwrap()
    };
    assert_eq!(mos(1), mos(50));
}

#[test]
fn who_is_heard_again_has_lost_what_was_refused_once_though_the_gap_in_the_sequence_tells_it_too() {
    let (_, malformed) = FAULTS[2];
    let after = |during: &dyn Fn(u64) -> Option<Packet>| {
        let mut line = Line::new(|_| {});
        line.come(10_000, |n| Some(fine(n)));
        line.come(5000, during);
        line.come(10_000, |n| Some(fine(n)));
        line.session.stats()
    };
    let (refused, lost) = (after(&|n| Some(malformed(n))), after(&|_| None));
    assert_eq!(refused.packets_lost, lost.packets_lost);
    let (of_refused, of_lost) = (refused.mos_listening.unwrap(), lost.mos_listening.unwrap());
    assert!((of_refused - of_lost).abs() < 0.02, "{of_refused} {of_lost}");
    let apart = refused.burst_duration.abs_diff(lost.burst_duration);
    assert!(apart <= Duration::from_millis(80), "{apart:?}");
}

#[test]
fn a_call_over_a_bad_link_is_not_deaf() {
    for seed in 0..8 {
        let mut call = Call::new(good(), seed, |_| {});
        call.a.play(1, voice(20 * 8000, 8000), 8000);
        call.run(Time::secs(25));
        let told = |(_, event): &(Time, Event)| matches!(event, Event::Unheard { .. });
        assert!(!call.b.events.iter().any(told), "{:?}", call.b.events);
    }
}

#[test]
fn a_packet_of_the_tests_is_one_that_is_heard() {
    let mut line = Line::new(|_| {});
    assert_eq!(fine(0).bytes().len(), HEADER_LEN + 160);
    line.come(1000, |n| Some(fine(n)));
    assert!(line.session.stats().frames_received > 40);
}
