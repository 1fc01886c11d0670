//! A far end that sends back what it gets, as sipp's `rtp_echo` and a loopback plug do: it is heard. Everything else under
//! our SSRC is a collision or a loop (RFC 3550 §8.2).

mod attack;
mod common;

use attack::{has_no_effect_in, Blow};
use common::{voice, A};
use roomkit_media::codec::opus::Settings;
use roomkit_media::codec::CodecSpec;
use roomkit_media::dtmf::Digit;
use roomkit_media::rtp::RtpHeader;
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{
    Chunk, Event, Fill, Frame, FrameKind, Output, Port, RtcpMode, Session, SessionConfig,
};
use roomkit_media::source::Policy;
use roomkit_media::srtp::{MasterKey, SrtpConfig, Suite};
use roomkit_media::time::{Duration, Time};
use std::collections::VecDeque;
use std::net::SocketAddr;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A session whose far end, `A`, does with each datagram what it is told to.
struct Line {
    session: Session,
    now: Time,
    way: VecDeque<(Time, SocketAddr, Port, Vec<u8>)>,
    sent: Vec<(Port, Vec<u8>)>,
    frames: Vec<Frame>,
    events: Vec<Event>,
}

/// Where from, when and as what a datagram comes back.
type Return = (Time, SocketAddr, Vec<u8>);
type Back<'a> = &'a dyn Fn(Time, Port, &[u8]) -> Option<Return>;

impl Line {
    fn new(change: impl Fn(&mut SessionConfig)) -> Line {
        let mut config = SessionConfig::pcmu(Some(addr(A)));
        config.rtcp_interval = Duration::from_millis(500);
        change(&mut config);
        let session = Session::new(config, Time::ZERO, 3).unwrap();
        Line {
            session,
            now: Time::ZERO,
            way: VecDeque::new(),
            sent: vec![],
            frames: vec![],
            events: vec![],
        }
    }

    fn plays(mut self, seconds: usize, rate: u32) -> Line {
        let pcm = voice(seconds * rate as usize, rate);
        let chunk = Chunk {
            playback: 1,
            pcm,
            sample_rate: rate,
            channels: 1,
            last: true,
            live: false,
            marks: vec![],
        };
        self.session.play(chunk).unwrap();
        self
    }

    fn run(&mut self, until_ms: u64, back: Back<'_>) {
        while self.now < Time::ms(until_ms) {
            self.now += Duration::from_millis(1);
            while self.way.front().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, from, port, bytes) = self.way.pop_front().unwrap();
                self.session.receive(self.now, from, port, &bytes);
                self.drain(back);
            }
            if self.session.deadline() <= self.now {
                self.session.handle_deadline(self.now);
            }
            self.drain(back);
        }
    }

    fn drain(&mut self, back: Back<'_>) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Datagram { port, bytes, .. } => {
                    if let Some((at, from, bytes)) = back(self.now, port, &bytes) {
                        self.way.push_back((at, from, port, bytes));
                    }
                    self.sent.push((port, bytes));
                }
                Output::Frame(frame) => self.frames.push(frame),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn received(&self) -> usize {
        self.frames.iter().filter(|frame| frame.kind == FrameKind::Received).count()
    }

    fn heard(&self) -> Vec<i16> {
        self.frames.iter().flat_map(|frame| frame.pcm.clone()).collect()
    }

    /// The SSRCs of sources that were trusted, in their order.
    fn trusted(&self) -> Vec<Ssrc> {
        let source = |event: &Event| match event {
            Event::SourceLocked { ssrc, .. } | Event::SourceChanged { ssrc, .. } => Some(*ssrc),
            _ => None,
        };
        self.events.iter().filter_map(source).collect()
    }
}

/// All of it comes back after so many ms, RTCP from its own port.
fn after(ms: u64) -> impl Fn(Time, Port, &[u8]) -> Option<Return> {
    move |now, port, bytes| {
        let mut from = addr(A);
        from.set_port(from.port() + u16::from(port == Port::Rtcp));
        Some((now + Duration::from_millis(ms), from, bytes.to_vec()))
    }
}

#[test]
fn what_the_far_end_sends_back_is_heard_bit_for_bit() {
    for (ptime, way, rtcp) in [
        (20, 0, RtcpMode::Separate),
        (20, 60, RtcpMode::Mux),
        (10, 1500, RtcpMode::Separate),
        (30, 250, RtcpMode::Off),
    ] {
        let mut line = Line::new(|config| {
            config.ptime = Duration::from_millis(ptime);
            config.rtcp = rtcp;
        })
        .plays(5, 8000);
        let own = line.session.ssrc();
        line.run(8000, &after(way));
        let what = format!("{ptime} ms, {way} ms on the way, {rtcp:?}");
        // The first and the last frame of 30 ms are filled up with silence.
        let frames = 5000u64.div_ceil(ptime);
        let received = line.received() as u64;
        assert!(
            (frames - u64::from(ptime > 20)..=frames).contains(&received),
            "{what}: {received}"
        );
        let (mut coded, mut said) = (vec![], vec![]);
        CodecSpec::PCMU.encoder().encode(&voice(5 * 8000, 8000), &mut coded);
        CodecSpec::PCMU.decoder().decode(&coded, &mut said).unwrap();
        let heard = line.heard();
        let begin = heard.windows(160).position(|part| part == &said[..160]).expect(&what);
        assert!(heard[begin..][..said.len()] == said, "{what}");
        assert_eq!(line.trusted(), [own], "{what}");
        assert_eq!(line.session.ssrc(), own, "{what}: no collision");
        let stats = line.session.stats();
        let reports = if rtcp == RtcpMode::Off { 0 } else { stats.rtcp_sent };
        // The last reports are still on their way.
        let back = stats.packets_sent..=stats.packets_sent + reports;
        assert!(back.contains(&stats.reflected), "{what}: {stats:?}");
        assert_eq!((stats.looped, stats.packets_lost, stats.late), (0, 0, 0), "{what}");
        // What we say of ourselves is no word of the far end's.
        assert_eq!((stats.rtcp_received, stats.remote_lost), (0, None), "{what}");
        assert!(stats.round_trip.is_none());
        assert!(!line.events.iter().any(|event| matches!(event, Event::RemoteBye { .. })));
    }
}

#[test]
fn digits_and_silence_that_come_back_are_heard_as_they_were_sent() {
    for fill in [Fill::None, Fill::Silence] {
        let opus = CodecSpec::opus(111, 48_000, 1, Settings::default());
        let mut line = Line::new(|config| {
            (config.send_codec, config.receive_codecs) = (opus, vec![opus]);
            config.sample_rate = 48_000;
            config.fill = fill;
        })
        .plays(1, 48_000);
        for key in "11#7".chars() {
            let digit = Digit::parse(key).unwrap();
            line.session.send_dtmf(digit, Duration::from_millis(100)).unwrap();
        }
        line.run(4000, &after(70));
        let digits: String = line
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Digit { digit, .. } => Some(digit.as_char()),
                _ => None,
            })
            .collect();
        assert_eq!(digits, "11#7", "an echo test sends them back like all else");
        assert_eq!(line.session.stats().looped, 0);
    }
}

#[test]
fn rfc3550_8_2_what_is_not_as_it_was_sent_just_now_is_a_collision_and_not_heard() {
    fn changed(bytes: &[u8], at: usize) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    }
    type Change = fn(&[u8]) -> Vec<u8>;
    let cases: [(&str, u64, &str, Change, u64); 10] = [
        ("as it was", 60, A, <[u8]>::to_vec, 0),
        ("after more than two seconds", 2050, A, <[u8]>::to_vec, 1),
        ("its first sample", 60, A, |b| changed(b, 12), 1),
        ("a sample in the middle", 60, A, |b| changed(b, 99), 1),
        ("its last sample", 60, A, |b| changed(b, b.len() - 1), 1),
        ("cut short", 60, A, |b| b[..b.len() - 1].to_vec(), 1),
        ("its sequence number", 60, A, |b| changed(b, 3), 1),
        ("its timestamp", 60, A, |b| changed(b, 6), 1),
        ("another port of the far end", 60, "192.0.2.1:4000", <[u8]>::to_vec, 1),
        ("another host", 60, "203.0.113.9:10000", <[u8]>::to_vec, 0),
    ];
    for (what, way, from, change, renamed) in cases {
        let heard = what == "as it was";
        let mut line = Line::new(|config| {
            config.policy = Policy::Learn;
            config.rtcp = RtcpMode::Off;
        })
        .plays(5, 8000);
        let own = line.session.ssrc();
        line.run(6000, &|now, port, bytes| {
            // What is altered is audio: a packet that is empty has none.
            let rtp = port == Port::Rtp && bytes.len() == 172;
            rtp.then(|| (now + Duration::from_millis(way), addr(from), change(bytes)))
        });
        let stats = line.session.stats();
        assert_eq!(u64::from(line.session.ssrc() != own), renamed, "{what}: once, or never");
        assert_eq!(stats.reflected > 0, heard, "{what}");
        assert_eq!(stats.looped > 0, !heard, "{what}");
        if !heard {
            let played = stats.packets_received;
            // Of those under the SSRC of before, which are on their way at a collision, some are a source like any other.
            assert!(played <= way / 20 + 2, "{what}: {played}");
        }
    }
}

#[test]
fn with_keys_what_comes_back_is_refused_as_before() {
    let key = |fill| MasterKey::new(Suite::AesCm128HmacSha1_80, &[fill; 30], &[], None).unwrap();
    let mut line = Line::new(|config| {
        config.srtp = Some(SrtpConfig { send: key(1), receive: vec![key(2)] });
    })
    .plays(2, 8000);
    let own = line.session.ssrc();
    line.run(3000, &after(60));
    let stats = line.session.stats();
    assert_eq!((stats.packets_received, stats.reflected, stats.looped), (0, 0, 0));
    assert!(stats.srtp_bad_tag >= 100);
    assert_eq!(line.session.ssrc(), own);
}

#[test]
fn a_session_that_gets_keys_no_longer_knows_what_it_sent_in_plain() {
    let key = |fill| MasterKey::new(Suite::AesCm128HmacSha1_80, &[fill; 30], &[], None).unwrap();
    let mut line = Line::new(|_| {}).plays(2, 8000);
    line.run(500, &after(60));
    let before = line.session.stats();
    let mut config = SessionConfig::pcmu(Some(addr(A)));
    config.srtp = Some(SrtpConfig { send: key(1), receive: vec![key(2)] });
    line.session.update(line.now, &config).unwrap();
    line.run(1000, &after(60));
    assert_eq!(line.session.stats().reflected, before.reflected);
}

/// A packet of the far end's own.
fn theirs(n: u32) -> Vec<u8> {
    let (seq, timestamp, ssrc) = (SeqNo(n as u16), RtpTime(n * 160), Ssrc(0xfa4));
    let mut bytes = vec![];
    RtpHeader { marker: false, payload_type: 0, seq, timestamp, ssrc }.write(&mut bytes);
    bytes.extend([0x2a; 160]);
    bytes
}

#[test]
fn a_far_end_that_speaks_itself_need_not_wait_for_what_it_sends_back() {
    // It speaks from 2 s to 4 s and from 4.5 s on, and sends back what it gets all the while.
    for from in [A, "192.0.2.1:4000"] {
        let mut line = Line::new(|_| {}).plays(10, 8000);
        let own = line.session.ssrc();
        for n in 0..400u32 {
            let speaks = (100..200).contains(&n) || n >= 225;
            if speaks {
                let now = line.now;
                line.session.receive(now, addr(from), Port::Rtp, &theirs(n));
            }
            line.run(u64::from(n) * 20 + 20, &after(60));
        }
        assert_eq!(line.trusted(), [own, Ssrc(0xfa4)], "{from}");
        // Its first packets come with the others of its proof, and find the place of what was sent back taken.
        let mut theirs = vec![];
        CodecSpec::PCMU.decoder().decode(&[0x2a; 160], &mut theirs).unwrap();
        let heard = line.frames.iter().filter(|frame| frame.pcm == theirs).count();
        // Two frames are joined where delay is given back.
        assert!((275 - 8..=275).contains(&heard), "{from}: {heard} of 275");
    }
}

#[test]
fn what_comes_back_takes_nothing_from_a_far_end_that_speaks() {
    for policy in [Policy::Strict, Policy::Host, Policy::Learn, Policy::Follow] {
        has_no_effect_in(
            (policy, true),
            RtcpMode::Separate,
            false,
            1000,
            10_000,
            &|_, known, ms| {
                // As it was sent, as an attacker who forges the far end's address and reads ours would send it.
                let newest = known.own.iter().rev().find(|(port, _)| *port == Port::Rtp);
                let reports = known.own.iter().rev().find(|(port, _)| *port == Port::Rtcp);
                let mut blows: Vec<Blow> = vec![];
                if let (0, Some((port, bytes))) = (ms % 20, newest) {
                    blows.push((addr(A), *port, bytes.clone()));
                }
                if let Some((port, bytes)) = reports.filter(|_| ms % 20 == 10) {
                    blows.push((addr("192.0.2.1:10001"), *port, bytes.clone()));
                }
                blows
            },
        );
    }
}

#[test]
fn one_packet_sent_back_over_and_over_is_no_source() {
    let mut line = Line::new(|_| {}).plays(5, 8000);
    line.run(200, &|_, _, _| None);
    let (_, bytes) = line.sent.iter().rfind(|(port, _)| *port == Port::Rtp).unwrap().clone();
    for _ in 0..1000 {
        line.session.receive(line.now, addr(A), Port::Rtp, &bytes);
    }
    line.run(1000, &|_, _, _| None);
    assert_eq!(line.trusted(), []);
    assert_eq!(line.session.stats().packets_received, 0);
}
