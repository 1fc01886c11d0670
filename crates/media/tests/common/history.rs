//! Any history of a stream, and after it a clean one: what the field does to a sender, its clock and the way to us.
//!
//! The far end is no session: it sends what it is told, in plain or sealed, so that every fault of a sender can be had. It
//! knows nothing of how packets are played.

use super::{A, B};
use roomkit_media::codec::opus::Settings;
use roomkit_media::codec::CodecSpec;
use roomkit_media::rng::Rng;
use roomkit_media::rtp::RtpHeader;
use roomkit_media::seq::{RtpTime, SeqNo, Ssrc};
use roomkit_media::session::{
    Direction, Event, EventType, Frame, NoiseType, Output, Port, RtcpMode, Session, SessionConfig,
};
use roomkit_media::source::Policy;
use roomkit_media::srtp::{MasterKey, Srtp, SrtpConfig, Suite};
use roomkit_media::time::{Duration, Time};
use std::net::SocketAddr;

/// The codecs of the receive map; the first four carry a level sample by sample.
pub fn codecs() -> Vec<CodecSpec> {
    vec![
        CodecSpec::PCMU,
        CodecSpec::PCMA,
        CodecSpec::l16(96, 8000, 1),
        CodecSpec::l16(97, 16_000, 1),
        CodecSpec::G722,
        CodecSpec::opus(111, 48_000, 1, Settings { complexity: 0, ..Settings::default() }),
    ]
}

/// Payload types of events at 8 and 16 kHz, and of comfort noise.
const EVENTS: [(u8, u32); 2] = [(101, 8000), (102, 16_000)];
const NOISE: u8 = 13;

/// Levels that G.711 carries exactly, of both laws, far enough from zero and from one another.
pub fn levels(codec: usize) -> Vec<i16> {
    let spec = codecs()[if codec == 1 { 1 } else { 0 }];
    let mut levels = vec![];
    spec.decoder().decode(&(0..=255).collect::<Vec<u8>>(), &mut levels).unwrap();
    levels.retain(|level| level.unsigned_abs() > 200);
    levels.truncate(LEVELS);
    levels
}

/// Only every 200th packet has the same level.
pub const LEVELS: usize = 200;

/// A packet on its way.
struct Datagram {
    arrival: u64,
    order: u64,
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// A packet of audio as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub level: i16,
    pub at: Time,
    pub arrival: Time,
    pub ptime_ms: u64,
}

/// The sender, the way to the session, and the session.
pub struct History {
    pub session: Session,
    pub config: SessionConfig,
    pub rng: Rng,
    pub heard: Vec<(Time, Frame)>,
    pub events: Vec<(Time, Event)>,
    /// What was done, for who reads of a failure.
    pub story: Vec<String>,
    pub sent: Vec<Sent>,
    /// In nanoseconds: the sender's time.
    now: u64,
    flying: Vec<Datagram>,
    order: u64,
    number: u64,
    // The sender.
    from: SocketAddr,
    ssrc: u32,
    seq: u16,
    timestamp: u32,
    pub codec: usize,
    levels: Vec<Vec<i16>>,
    ptime_ms: u64,
    ppm: i64,
    /// Ticks told for ticks that passed, in eighths.
    counts: u32,
    uneven: i32,
    seal: Option<(SrtpConfig, Srtp)>,
    // The way.
    delay: u64,
    pub jitter: u64,
    loss: f64,
    reorder: f64,
    twice: f64,
    /// What is sent meanwhile arrives then.
    stalled_until: u64,
}

const MS: u64 = 1_000_000;

impl History {
    /// A session and a sender that has said nothing yet; the seed decides all.
    pub fn new(seed: u64) -> History {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut config = SessionConfig::pcmu(Some(A.parse().unwrap()));
        config.cname = B.into();
        config.rtcp = RtcpMode::Off;
        config.receive_codecs = codecs();
        config.receive_events =
            EVENTS.map(|(payload_type, clock_rate)| EventType { payload_type, clock_rate }).into();
        config.receive_noise = vec![NoiseType { payload_type: NOISE, clock_rate: 8000 }];
        config.policy =
            pick(&mut rng, &[Policy::Host, Policy::Strict, Policy::Learn, Policy::Follow]);
        config.ptime = Duration::from_millis(pick(&mut rng, &[20, 20, 20, 10, 30, 40, 60]));
        config.jitter_delay = Duration::from_millis(pick(&mut rng, &[60, 60, 60, 40, 100, 200]));
        config.sample_rate = 8000;
        let mut seal = None;
        if rng.chance(0.25) {
            let suite = pick(&mut rng, &Suite::ALL);
            let (ours, theirs) = (key(suite, 1), key(suite, 2));
            config.srtp = Some(SrtpConfig { send: ours.clone(), receive: vec![theirs.clone()] });
            let far = SrtpConfig { send: theirs, receive: vec![ours] };
            seal = Some((far.clone(), Srtp::new(&far)));
        }
        let session = Session::new(config.clone(), Time::ZERO, seed).unwrap();
        History {
            session,
            config,
            heard: vec![],
            events: vec![],
            story: vec![],
            sent: vec![],
            now: rng.next_u64() % (40 * MS),
            flying: vec![],
            order: 0,
            number: 0,
            from: A.parse().unwrap(),
            ssrc: rng.next_u32(),
            seq: rng.next_u16(),
            timestamp: rng.next_u32(),
            codec: pick(&mut rng, &[0, 0, 1, 2, 3, 4, 5]),
            levels: (0..codecs().len()).map(levels).collect(),
            ptime_ms: pick(&mut rng, &[20, 20, 20, 10, 30, 40, 60]),
            ppm: 0,
            counts: 8,
            uneven: 0,
            seal,
            delay: 30 * MS,
            jitter: 0,
            loss: 0.0,
            reorder: 0.0,
            twice: 0.0,
            stalled_until: 0,
            rng,
        }
    }

    pub fn time(&self) -> Time {
        Time::ns(self.now)
    }

    /// Runs until the stream has been clean for `ms`, which it is from now on: from one source, in sequence, its timestamps
    /// advancing by what it sends, its jitter 20 ms at the most, in a codec whose levels can be recognised.
    pub fn clean(&mut self, ms: u64) -> Time {
        (self.counts, self.uneven) = (8, 0);
        (self.loss, self.reorder, self.twice) = (0.0, 0.0, 0.0);
        self.jitter = self.rng.next_u64() % (20 * MS + 1);
        self.delay = self.delay.min(2000 * MS);
        self.codec = self.rng.next_u64() as usize % 4;
        self.story.push(format!(
            "clean: {} and jitter {} ms",
            codecs()[self.codec].name(),
            self.jitter / MS
        ));
        // What is on its way still belongs to the history.
        let last = self.flying.iter().map(|datagram| datagram.arrival).max().unwrap_or(0);
        let began = Time::ns(last.max(self.now).max(self.stalled_until));
        let until = began + Duration::from_millis(ms);
        while self.time() < until {
            self.send();
        }
        began
    }

    /// Anything that the field does, once.
    pub fn happen(&mut self) {
        let what = self.rng.next_u64();
        self.happens(what);
    }

    /// The one of these that a number stands for.
    pub fn happens(&mut self, what: u64) {
        let length = 1 + self.rng.next_u64() % 50;
        let ms = |rng: &mut Rng, most: u64| 1 + rng.next_u64() % most;
        match what % 30 {
            0 => self.talk(length),
            1 => {
                let exponent = self.rng.next_u64() % 7;
                let mut step = ms(&mut self.rng, 10u64.pow(exponent as u32)) as i64 * 8;
                if self.rng.chance(0.5) {
                    step = -step;
                }
                self.tell(format!("timestamps step by {} ms", step / 8));
                self.timestamp = self.timestamp.wrapping_add(step as u32);
                if self.rng.chance(0.5) {
                    self.lose(1);
                }
            }
            2 => {
                self.tell("timestamps of another beginning".into());
                self.timestamp = self.rng.next_u32();
            }
            3 => {
                let step = pick(
                    &mut self.rng,
                    &[1, 2, 3, 7, 40, 99, 100, 101, 500, 2999, 3000, 3001, 40_000],
                );
                let back = self.rng.chance(0.6);
                self.tell(format!("numbers step {} by {step}", if back { "back" } else { "on" }));
                let step = if back { 0u16.wrapping_sub(step) } else { step };
                self.seq = self.seq.wrapping_add(step);
                // Sealed, what goes back in both is no other than what somebody recorded and sends again.
                if self.rng.chance(0.3) && !(back && self.seal.is_some()) {
                    self.timestamp = self.timestamp.wrapping_add((step as i16 as i32 * 160) as u32);
                }
            }
            4 => {
                let delay = self.rng.next_u64() % 400;
                self.tell(format!("the way takes {delay} ms"));
                self.delay = delay * MS;
                if self.rng.chance(0.5) {
                    self.lose(1);
                }
            }
            5 | 6 => {
                let stall = pick(&mut self.rng, &[100, 200, 300, 500, 800, 1200, 2000, 5000]);
                self.tell(format!("a stall of {stall} ms"));
                self.stalled_until = self.now + stall * MS;
                if self.rng.chance(0.5) {
                    self.talk(stall / self.ptime_ms + 1);
                }
            }
            7 => {
                self.loss = pick(&mut self.rng, &[0.02, 0.1, 0.3, 0.6]);
                self.tell(format!("{} lost for {length} packets", self.loss));
                self.talk(length);
                self.loss = 0.0;
            }
            8 => self.lose(length.min(20)),
            9 => {
                (self.reorder, self.twice) = (0.2, 0.1);
                self.tell(format!("out of order and twice for {length} packets"));
                self.talk(length);
                (self.reorder, self.twice) = (0.0, 0.0);
            }
            10 | 11 => {
                let pause = pick(&mut self.rng, &[7, 13, 40, 100, 307, 600, 1500, 4000]);
                let counted = self.rng.chance(0.6);
                self.tell(format!(
                    "a pause of {pause} ms, {}",
                    if counted { "counted" } else { "not counted" }
                ));
                self.rest(pause, counted);
                if self.rng.chance(0.4) {
                    self.lose(1);
                }
            }
            12 | 13 => {
                self.ptime_ms = pick(&mut self.rng, &[10, 20, 30, 40, 60]);
                self.tell(format!("packets of {} ms", self.ptime_ms));
            }
            14 => {
                self.tell("another SSRC".into());
                self.renew();
            }
            15 => {
                self.tell("the far end begins anew, all but its SSRC".into());
                self.begin_anew();
            }
            16 => {
                self.codec = self.rng.next_u64() as usize % codecs().len();
                self.tell(format!("codec {}", codecs()[self.codec].name()));
            }
            17 => {
                self.uneven = pick(&mut self.rng, &[1, 3, 7, 20]);
                self.tell(format!(
                    "timestamps uneven by {} ticks for {length} packets",
                    self.uneven
                ));
                self.talk(length);
                self.uneven = 0;
            }
            18 => {
                self.counts = pick(&mut self.rng, &[0, 1, 4, 16, 24]);
                self.tell(format!("timestamps count {}/8 for {length} packets", self.counts));
                self.talk(length);
                self.counts = 8;
            }
            19 => {
                self.ppm = pick(&mut self.rng, &[-500, -50, 0, 50, 500]);
                self.tell(format!("a clock off by {} ppm", self.ppm));
            }
            20 => {
                self.jitter = pick(&mut self.rng, &[5, 40, 100, 250]) * MS;
                self.tell(format!("jitter of {} ms for {length} packets", self.jitter / MS));
                self.talk(length);
                self.jitter = 0;
            }
            21 => self.press(),
            22 => {
                self.tell("comfort noise".into());
                self.packet(NOISE, vec![40], 0, true);
                self.rest(ms(&mut self.rng.clone(), 900), true);
            }
            23 => {
                self.tell("packets that nobody understands".into());
                for _ in 0..length {
                    let payload_type = pick(&mut self.rng, &[0, 34, 99, 127]);
                    let octets = self.rng.next_u64() as usize % 200;
                    self.packet(payload_type, vec![0x55; octets], 0, false);
                    self.advance(self.ptime_ms * MS);
                }
            }
            24 => {
                self.tell("hold and back".into());
                self.turn(Direction::SendOnly);
                self.talk(length);
                self.turn(Direction::SendRecv);
            }
            25 => {
                let off = self.rng.next_u64() % (20 * MS);
                self.tell(format!("{} µs off the grid", off / 1000));
                self.advance(off);
            }
            26 => {
                let slept = pick(&mut self.rng, &[100, 700, 1500, 4000]);
                self.tell(format!("our machine sleeps for {slept} ms"));
                self.sleep(slept, length);
            }
            27 => {
                self.tell("anything at all".into());
                for _ in 0..length {
                    let octets = 1 + self.rng.next_u64() as usize % 60;
                    let mut bytes: Vec<u8> =
                        (0..octets).map(|_| self.rng.next_u32() as u8).collect();
                    bytes[0] = 0x80 | bytes[0] & 0x3f;
                    self.fly(bytes);
                    self.advance(self.ptime_ms * MS);
                }
            }
            28 => {
                self.tell("the far end moves to another port".into());
                if self.config.policy != Policy::Strict {
                    let port = 20_000 + self.rng.next_u64() as u16 % 1000;
                    self.from.set_port(port);
                    // Signalling tells it, as it must where nothing else would.
                    self.session.retarget(self.time(), self.from);
                    self.config.remote = Some(self.from);
                }
                self.renew();
            }
            _ => self.talk(length * 3),
        }
    }

    fn tell(&mut self, what: String) {
        self.story.push(format!("{:.3} s: {what}", self.now as f64 / 1e9));
    }

    /// `packets` of audio.
    pub fn talk(&mut self, packets: u64) {
        for _ in 0..packets {
            self.send();
        }
    }

    /// One packet of audio, and the time that it takes.
    fn send(&mut self) {
        let spec = codecs()[self.codec];
        let samples = self.ptime_ms * u64::from(spec.sample_rate) / 1000;
        let level = self.level();
        let mut payload = vec![];
        spec.encoder().encode(&vec![level; samples as usize], &mut payload);
        let uneven = match self.uneven {
            0 => 0,
            most => (self.rng.next_u64() % (2 * most as u64 + 1)) as i32 - most,
        };
        let arrival = self.packet(spec.payload_type, payload, uneven, false);
        let (at, ptime_ms) = (self.time(), self.ptime_ms);
        if let Some(arrival) = arrival {
            self.sent.push(Sent { level, at, arrival: Time::ns(arrival), ptime_ms });
        }
        self.number += 1;
        self.count(self.ptime_ms * MS);
        self.advance(self.ptime_ms * MS);
    }

    fn level(&self) -> i16 {
        self.levels[self.codec][self.number as usize % LEVELS]
    }

    /// Its packets go on, and so many of them do not arrive.
    fn lose(&mut self, packets: u64) {
        self.tell(format!("{packets} packets lost"));
        let loss = core::mem::replace(&mut self.loss, 1.0);
        self.talk(packets);
        self.loss = loss;
    }

    /// The sender says nothing.
    fn rest(&mut self, ms: u64, counted: bool) {
        if counted {
            self.count(ms * MS);
        }
        self.advance(ms * MS);
    }

    /// Another source: nothing of it has to do with what was before.
    fn renew(&mut self) {
        (self.ssrc, self.seq) = (self.rng.next_u32(), self.rng.next_u16());
        self.timestamp = self.rng.next_u32();
    }

    /// A restart: of all that it knew only its SSRC and its keys are left, not how often its numbers had turned.
    fn begin_anew(&mut self) {
        (self.seq, self.timestamp) = (self.rng.next_u16(), self.rng.next_u32());
        if let Some((config, srtp)) = &mut self.seal {
            *srtp = Srtp::new(config);
        }
    }

    /// A key of the phone: some packets of an event, its end three times unless it is lost.
    fn press(&mut self) {
        self.tell("a key".into());
        let (payload_type, clock_rate) = pick(&mut self.rng, &EVENTS);
        let code = self.rng.next_u64() as u8 % 12;
        let updates = 2 + self.rng.next_u64() as u16 % 6;
        let ends = self.rng.next_u64() % 4;
        let ticks = (clock_rate / 50) as u16;
        for n in 1..=updates {
            self.event(payload_type, code, n * ticks, false);
            self.advance(20 * MS);
        }
        for _ in 0..ends {
            self.event(payload_type, code, updates * ticks, true);
        }
        self.count(u64::from(updates) * 20 * MS);
    }

    fn event(&mut self, payload_type: u8, code: u8, duration: u16, end: bool) {
        let mut payload = vec![code, if end { 0x8a } else { 0x0a }];
        payload.extend(duration.to_be_bytes());
        self.packet(payload_type, payload, 0, false);
    }

    /// Sends a packet; when it arrives, if it does.
    fn packet(
        &mut self,
        payload_type: u8,
        payload: Vec<u8>,
        off: i32,
        marker: bool,
    ) -> Option<u64> {
        let timestamp = RtpTime(self.timestamp.wrapping_add(off as u32));
        let (seq, ssrc) = (SeqNo(self.seq), Ssrc(self.ssrc));
        self.seq = self.seq.wrapping_add(1);
        let mut bytes = vec![];
        RtpHeader { marker, payload_type, seq, timestamp, ssrc }.write(&mut bytes);
        bytes.extend(payload);
        if let Some((config, srtp)) = &mut self.seal {
            let mut sealed = bytes.clone();
            if srtp.protect_rtp(&mut sealed).is_err() {
                // Numbers that go back: a sender that does not mind seals them as it did before they turned.
                *srtp = Srtp::new(config);
                sealed = bytes;
                srtp.protect_rtp(&mut sealed).unwrap();
            }
            bytes = sealed;
        }
        if self.rng.chance(self.loss) {
            return None;
        }
        Some(self.fly(bytes))
    }

    fn fly(&mut self, bytes: Vec<u8>) -> u64 {
        let wobble = if self.jitter == 0 { 0 } else { self.rng.next_u64() % (self.jitter + 1) };
        let mut arrival = self.now + self.delay + wobble;
        if self.rng.chance(self.reorder) {
            arrival += 45 * MS;
        } else if self.reorder == 0.0 {
            // The way keeps what follows behind what was before.
            arrival = arrival.max(self.flying.iter().map(|d| d.arrival).max().unwrap_or(0));
        }
        if self.now < self.stalled_until {
            arrival = arrival.max(self.stalled_until);
        }
        let copies = if self.rng.chance(self.twice) { 2 } else { 1 };
        for copy in 0..copies {
            let (order, from) = (self.order, self.from);
            let arrival = arrival + copy * 3 * MS;
            self.flying.push(Datagram { arrival, order, from, bytes: bytes.clone() });
            self.order += 1;
        }
        arrival
    }

    /// The sender's clock counts a time.
    fn count(&mut self, ns: u64) {
        let ticks = ns * u64::from(codecs()[self.codec].clock_rate) / 1_000_000_000;
        self.timestamp = self.timestamp.wrapping_add((ticks * u64::from(self.counts) / 8) as u32);
    }

    /// Time passes: what arrives is received, what is due is played.
    fn advance(&mut self, ns: u64) {
        self.now += ns.saturating_add_signed(-(ns as i64 / 1_000_000 * self.ppm));
        self.run(self.now);
    }

    fn run(&mut self, until: u64) {
        self.flying.sort_by_key(|datagram| (datagram.arrival, datagram.order));
        let mut next = 0;
        loop {
            let arrival = self.flying.get(next).map_or(u64::MAX, |datagram| datagram.arrival);
            let due = self.session.deadline().as_ns();
            if arrival.min(due) > until {
                break;
            }
            if arrival <= due {
                let Datagram { from, bytes, .. } = &self.flying[next];
                self.session.receive(Time::ns(arrival), *from, Port::Rtp, bytes);
                next += 1;
            } else {
                self.session.handle_deadline(Time::ns(due));
            }
            self.drain(Time::ns(due));
        }
        self.flying.drain(..next);
    }

    fn drain(&mut self, at: Time) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Frame(frame) => self.heard.push((at, frame)),
                Output::Event(event) => self.events.push((at, event)),
                Output::Datagram { .. } => {}
            }
        }
    }

    fn turn(&mut self, direction: Direction) {
        self.config.direction = direction;
        self.session.update(self.time(), &self.config).unwrap();
    }

    /// Nobody serves the session for a while, in which packets wait in its socket.
    fn sleep(&mut self, ms: u64, packets: u64) {
        let end = self.now + ms * MS;
        let mut sent = 0;
        while sent < packets && self.now < end {
            let spec = codecs()[self.codec];
            let mut payload = vec![];
            let samples = self.ptime_ms * u64::from(spec.sample_rate) / 1000;
            spec.encoder().encode(&vec![self.level(); samples as usize], &mut payload);
            self.packet(spec.payload_type, payload, 0, false);
            self.number += 1;
            sent += 1;
            self.count(self.ptime_ms * MS);
            self.now += self.ptime_ms * MS;
        }
        self.now = self.now.max(end);
        self.session.handle_deadline(Time::ns(self.now));
        self.drain(Time::ns(self.now));
        self.run(self.now);
    }
}

fn key(suite: Suite, fill: u8) -> MasterKey {
    MasterKey::new(suite, &vec![fill; suite.key_len() + suite.salt_len()], &[], None).unwrap()
}

pub fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.next_u64() as usize % of.len()]
}
