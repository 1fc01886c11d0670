//! A goodbye is told when it came: after the audio that came in time, and never much later, whatever the call was like.

mod common;

use common::A;
use roomkit_media::codec::CodecSpec;
use roomkit_media::rng::Rng;
use roomkit_media::rtcp::write_compound;
use roomkit_media::rtp::RtpHeader;
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{Event, FrameKind, Output, Port, Session, SessionConfig};
use roomkit_media::time::{Duration, Time};
use std::net::SocketAddr;

const FAR: Ssrc = Ssrc(5);
const FRAME: Duration = Duration::from_millis(20);

/// A session, and what it gives.
struct Line {
    session: Session,
    heard: usize,
    told: Vec<(Time, Event)>,
}

impl Line {
    fn new(target_ms: u64) -> Line {
        let mut config = SessionConfig::pcmu(Some(far()));
        config.jitter_delay = Duration::from_millis(target_ms);
        let session = Session::new(config, Time::ZERO, 7).unwrap();
        Line { session, heard: 0, told: vec![] }
    }

    fn run(&mut self, until: Time) {
        while self.session.deadline() <= until {
            let due = self.session.deadline();
            self.session.handle_deadline(due);
            while let Some(output) = self.session.poll() {
                match output {
                    Output::Frame(frame) => {
                        self.heard += usize::from(frame.kind == FrameKind::Received);
                    }
                    Output::Event(event) => self.told.push((due, event)),
                    Output::Datagram { .. } => {}
                }
            }
        }
    }

    /// The packet of the `n`th 20 ms, `steps` ticks from where it should be.
    fn packet(&mut self, at: Time, n: u64, steps: u32) {
        let pcm: Vec<i16> = (0..160).map(|i| if i % 16 < 8 { 4000 } else { -4000 }).collect();
        let seq = SeqNo(65_000).plus(n as u16);
        let timestamp = RtpTime(77).after_frames(n, 160).plus(steps);
        let mut bytes = Vec::new();
        RtpHeader { marker: false, payload_type: 0, seq, timestamp, ssrc: FAR }.write(&mut bytes);
        CodecSpec::PCMU.encoder().encode(&pcm, &mut bytes);
        self.session.receive(at, far(), Port::Rtp, &bytes);
    }

    fn goodbye(&mut self, at: Time) {
        let mut bytes = Vec::new();
        write_compound(&mut bytes, FAR, None, &[], "far", &[], Some("done"));
        let mut from = far();
        from.set_port(from.port() + 1);
        self.session.receive(at, from, Port::Rtcp, &bytes);
    }

    /// When the goodbye was told, and that it was told once.
    fn parted(&self) -> Option<Time> {
        let bye = Event::RemoteBye { reason: "done".into() };
        let mut times = self.told.iter().filter(|(_, event)| *event == bye);
        let first = times.next().map(|(at, _)| *at);
        assert!(times.next().is_none(), "{:?}", self.told);
        first
    }
}

fn far() -> SocketAddr {
    A.parse().unwrap()
}

/// A call that goes as badly as calls do, up to a goodbye at the time that is returned.
fn history(rng: &mut Rng, line: &mut Line) -> Time {
    let length = 50 + rng.next_u64() % 400;
    let jitter = [0, 5, 60, 200][rng.next_u64() as usize % 4];
    let (mut stalled_until, mut steps) = (0, 0u32);
    let mut arrivals = Vec::new();
    for n in 0..length {
        let sent = n * 20 + 7;
        match rng.next_u64() % 100 {
            0 => stalled_until = sent + rng.next_u64() % 3000,
            1 => steps = rng.next_u32() % 16_000,
            2 => steps = rng.next_u32(),
            3..=8 => continue,
            _ => {}
        }
        let at = sent.max(stalled_until) + rng.next_u64() % (jitter + 1);
        arrivals.push((at, n, steps));
    }
    arrivals.sort_by_key(|(at, ..)| *at);
    let end = Time::ms(length * 20 + rng.next_u64() % 400);
    for (at, n, steps) in arrivals.into_iter().filter(|(at, ..)| Time::ms(*at) <= end) {
        line.run(Time::ms(at));
        line.packet(Time::ms(at), n, steps);
    }
    line.run(end);
    end
}

#[test]
fn after_any_history_a_goodbye_is_told_when_it_came_or_half_a_second_later_at_the_most() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let target = [0, 20, 60, 100, 500][rng.next_u64() as usize % 5];
        let mut line = Line::new(target);
        let came = history(&mut rng, &mut line);
        let waits = line.session.stats().buffered;
        line.goodbye(came);
        line.run(came + Duration::from_secs(3));
        let told = line.parted().unwrap_or_else(|| panic!("seed {seed}: not told"));
        let most = if waits.is_zero() { FRAME } else { Duration::from_millis(500 + 40) + FRAME };
        assert!(told - came <= most, "seed {seed}: {:?} late, {waits:?} waited", told - came);
    }
}

#[test]
fn what_came_in_time_is_heard_before_the_goodbye_is_told() {
    for target in [0, 20, 60, 200, 500] {
        for phase in [0, 7, 19] {
            let mut line = Line::new(target);
            for n in 0..200 {
                let at = Time::ms(n * 20 + phase);
                line.run(at);
                line.packet(at, n, 0);
            }
            let came = Time::ms(199 * 20 + phase);
            line.goodbye(came);
            line.run(came + Duration::from_secs(2));
            assert!(line.heard >= 199, "{target} ms: {} of 200 frames", line.heard);
            let late = line.parted().unwrap() - came;
            assert!(late.as_millis() as u64 <= target + 60, "{target} ms: {late:?}");
        }
    }
}

#[test]
fn a_goodbye_does_not_wait_for_audio_that_goes_on_regardless() {
    let mut line = Line::new(60);
    for n in 0..300 {
        let at = Time::ms(n * 20);
        line.run(at);
        line.packet(at, n, 0);
        if n == 100 {
            line.goodbye(at);
        }
    }
    let late = line.parted().unwrap() - Time::ms(2000);
    assert!((480..=520).contains(&late.as_millis()), "{late:?}");
}
