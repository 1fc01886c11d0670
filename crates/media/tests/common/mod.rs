//! Two sessions and a seeded link each way, on virtual time.

#![allow(dead_code, missing_docs)]

pub mod far;
pub mod gateway;
pub mod history;

use roomkit_media::session::{
    Chunk, Event, Frame, FrameKind, Output, Port, Session, SessionConfig,
};
use roomkit_media::time::{Duration, Time};
use roomkit_netsim::{Link, LinkConfig};
use std::net::SocketAddr;

/// One datagram in flight.
#[derive(Clone, Debug, PartialEq)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub port: Port,
    pub bytes: Vec<u8>,
}

/// One end of a call and what it gave.
pub struct End {
    pub session: Session,
    pub addr: SocketAddr,
    pub frames: Vec<Frame>,
    pub events: Vec<(Time, Event)>,
    /// What it sent, and when.
    pub sent: Vec<(Time, Datagram)>,
}

/// Two ends, `a` and `b`, and a link each way.
pub struct Call {
    pub a: End,
    pub b: End,
    pub a_to_b: Link<Datagram>,
    pub b_to_a: Link<Datagram>,
    pub now: Time,
}

pub const A: &str = "192.0.2.1:10000";
pub const B: &str = "192.0.2.2:20000";

impl Call {
    /// A call between two ends of the same kind; `change` changes what both are told.
    pub fn new(link: LinkConfig, seed: u64, change: impl Fn(&mut SessionConfig)) -> Call {
        Call::between(link, seed, &change, &change)
    }

    pub fn between(
        link: LinkConfig,
        seed: u64,
        change_a: impl Fn(&mut SessionConfig),
        change_b: impl Fn(&mut SessionConfig),
    ) -> Call {
        let end = |own: &str, other: &str, seed, at, change: &dyn Fn(&mut SessionConfig)| {
            let mut config = SessionConfig::pcmu(Some(other.parse().unwrap()));
            config.cname = own.into();
            change(&mut config);
            let session = Session::new(config, at, seed).unwrap();
            let addr = own.parse().unwrap();
            End { session, addr, frames: vec![], events: vec![], sent: vec![] }
        };
        Call {
            a: end(A, B, seed * 4 + 1, Time::ZERO, &change_a),
            // Frames of the two ends do not fall together: they never do.
            b: end(B, A, seed * 4 + 2, Time::ms(7), &change_b),
            a_to_b: Link::new(link, seed * 4 + 3),
            b_to_a: Link::new(link, seed * 4 + 4),
            now: Time::ZERO,
        }
    }

    /// Runs until `until`.
    pub fn run(&mut self, until: Time) {
        loop {
            let arrival = |link: &Link<Datagram>| {
                link.next_arrival().map_or(Time::FAR, |at| Time::ns(at.as_nanos() as u64))
            };
            let next = [
                self.a.session.deadline(),
                self.b.session.deadline(),
                arrival(&self.a_to_b),
                arrival(&self.b_to_a),
            ]
            .into_iter()
            .min()
            .unwrap();
            if next >= until {
                self.now = until;
                return;
            }
            self.now = next;
            deliver(&mut self.a_to_b, &mut self.b, next);
            deliver(&mut self.b_to_a, &mut self.a, next);
            self.a.session.handle_deadline(next);
            self.b.session.handle_deadline(next);
            self.drain();
        }
    }

    /// Hands over what the ends gave after an input that the test made itself.
    pub fn drain(&mut self) {
        let now = self.now;
        drain(&mut self.a, &mut self.a_to_b, now);
        drain(&mut self.b, &mut self.b_to_a, now);
    }
}

fn deliver(link: &mut Link<Datagram>, to: &mut End, now: Time) {
    while let Some((_, datagram)) = link.receive(now - Time::ZERO) {
        to.session.receive(now, datagram.from, datagram.port, &datagram.bytes);
    }
}

fn drain(end: &mut End, link: &mut Link<Datagram>, now: Time) {
    while let Some(output) = end.session.poll() {
        match output {
            Output::Datagram { to, port, bytes } => {
                let mut from = end.addr;
                if port == Port::Rtcp {
                    from.set_port(from.port() + 1);
                }
                let datagram = Datagram { from, to, port, bytes };
                end.sent.push((now, datagram.clone()));
                link.send(now - Time::ZERO, datagram);
            }
            Output::Frame(frame) => end.frames.push(frame),
            Output::Event(event) => end.events.push((now, event)),
        }
    }
}

impl End {
    pub fn play(&mut self, playback: u64, pcm: Vec<i16>, sample_rate: u32) {
        let chunk = Chunk {
            playback,
            pcm,
            sample_rate,
            channels: 1,
            last: true,
            live: false,
            marks: vec![],
        };
        self.session.play(chunk).unwrap();
    }

    /// RTP it sent: when, marker, payload type, sequence number, timestamp, payload.
    pub fn rtp(&self) -> Vec<(Time, bool, u8, u16, u32, Vec<u8>)> {
        self.sent
            .iter()
            .filter(|(_, d)| d.port == Port::Rtp)
            .map(|(at, d)| {
                let p = roomkit_media::rtp::RtpPacket::parse(&d.bytes).unwrap();
                (*at, p.marker, p.payload_type, p.seq.0, p.timestamp.0, p.payload.to_vec())
            })
            .collect()
    }

    pub fn rtcp(&self) -> Vec<(Time, Vec<u8>)> {
        let rtcp = self.sent.iter().filter(|(_, d)| d.port == Port::Rtcp);
        rtcp.map(|(at, d)| (*at, d.bytes.clone())).collect()
    }

    pub fn heard(&self) -> Vec<i16> {
        self.frames.iter().flat_map(|frame| frame.pcm.clone()).collect()
    }

    pub fn digits(&self) -> String {
        let digit = |(_, event): &(Time, Event)| match event {
            Event::Digit { digit, .. } => Some(digit.as_char()),
            _ => None,
        };
        self.events.iter().filter_map(digit).collect()
    }

    pub fn count(&self, kind: FrameKind) -> usize {
        self.frames.iter().filter(|frame| frame.kind == kind).count()
    }
}

/// Something like speech that never repeats exactly: a tone that glides, with a level that breathes.
pub fn voice(samples: usize, rate: u32) -> Vec<i16> {
    let mut phase = 0.0f64;
    (0..samples)
        .map(|n| {
            let t = n as f64 / f64::from(rate);
            phase += (180.0 + 60.0 * (t * 1.3).sin()) * core::f64::consts::TAU / f64::from(rate);
            let level = 6000.0 * (0.6 + 0.4 * (t * 5.0).sin());
            (level * (phase.sin() + 0.4 * (2.0 * phase).sin())) as i16
        })
        .collect()
}

/// A link of 40 ms and nothing else.
pub fn good() -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(40), ..LinkConfig::default() }
}
