//! Gateways that signal keys, each in its own way, and a network behind them: what arrives, and what was pressed.

use roomkit_media::rng::Rng;
use roomkit_media::time::{Duration, Time};

/// Audio and events of a stream at 8 kHz, in milliseconds and ticks.
const PER_MS: u64 = 8;
const FRAME_MS: u64 = 20;
pub const AUDIO: u8 = 0;
pub const EVENT: u8 = 101;

/// A key, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Press {
    pub key: char,
    pub at: u64,
    pub held: u64,
}

/// What the timestamps of an event do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    /// RFC 4733 §2.5.1.1: one for the whole event.
    Fixed,
    /// Each repeat of the end is a frame later: t, t+160, t+320.
    EndsStep,
    /// The repeats of the end have the audio's time.
    EndsAreAudio,
    /// So has the last of them.
    LastIsAudio,
    /// That of every packet is the audio's.
    AllAreAudio,
    /// They stand still, over all events.
    Frozen,
}

/// What the durations do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    Grow,
    /// The first packet says 0.
    FromZero,
    /// Each says a frame.
    Constant,
    /// Each says the whole.
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    First,
    None,
    All,
}

/// How keys are signalled.
#[derive(Clone, Copy, Debug)]
pub struct Gateway {
    pub stamps: Stamps,
    pub counts: Counts,
    pub marks: Marks,
    /// Between updates.
    pub every: u64,
    pub ends: u64,
    /// Between ends; 0 for all at once.
    pub ends_every: u64,
    pub ends_only: bool,
    /// Audio flows, and goes on beside events.
    pub audio: bool,
    pub beside: bool,
    /// The source takes another name, or begins another sequence, in the middle of each press.
    pub renamed: bool,
    /// Ticks of payloads, and of timestamps, per millisecond.
    pub clocks: (u64, u64),
}

pub const PLAIN: Gateway = Gateway {
    stamps: Stamps::Fixed,
    counts: Counts::Grow,
    marks: Marks::First,
    every: 20,
    ends: 3,
    ends_every: 20,
    ends_only: false,
    audio: true,
    beside: false,
    renamed: false,
    clocks: (PER_MS, PER_MS),
};

/// What the network does.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    pub loss: f64,
    pub jitter_ms: f64,
    /// Of packets that are held up, and for how long at most.
    pub reorder: f64,
    pub held_up_ms: f64,
    pub duplicate: f64,
}

pub const GOOD: Network =
    Network { loss: 0.0, jitter_ms: 0.0, reorder: 0.0, held_up_ms: 0.0, duplicate: 0.0 };

pub fn bad(loss: f64) -> Network {
    Network { loss, jitter_ms: 8.0, reorder: 0.1, held_up_ms: 100.0, duplicate: 0.1 }
}

/// One packet on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub sent: Time,
    pub arrives: Time,
    pub ssrc: u32,
    pub seq: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload_type: u8,
    /// Key code, end, duration; for audio its only content is silence.
    pub event: Option<(u8, bool, u16)>,
    /// Which press it is of.
    pub press: Option<usize>,
}

pub const KEYS: &str = "0123456789*#ABCD";

/// What leaves the gateway until `until` ms, in the order in which it does.
pub fn signal(gateway: Gateway, presses: &[Press], until: u64) -> Vec<Packet> {
    let first = Rng::new(until).next_u32();
    let ticks = |ms: u64| first.wrapping_add((ms * gateway.clocks.1) as u32);
    // When, and what of which press: its number among the press's packets, and among its ends.
    let mut events = vec![];
    for (n, press) in presses.iter().enumerate() {
        let mut packets = vec![];
        if gateway.counts == Counts::FromZero {
            packets.push((press.at + 1, 0, None));
        }
        for lasted in (gateway.every..press.held).step_by(gateway.every as usize) {
            packets.push((press.at + lasted, lasted, None));
        }
        if gateway.ends_only {
            packets.clear();
        }
        for end in 0..gateway.ends {
            packets.push((press.at + press.held + end * gateway.ends_every, press.held, Some(end)));
        }
        let last = packets.len() - 1;
        let frozen_at = presses[0].at;
        for (index, (at, lasted, end)) in packets.into_iter().enumerate() {
            let now = at.saturating_sub(gateway.every);
            let timestamp = match (gateway.stamps, end) {
                (Stamps::Frozen, _) => ticks(frozen_at),
                (Stamps::AllAreAudio, _) => ticks(now),
                (Stamps::EndsStep, Some(end)) => ticks(press.at + end * FRAME_MS),
                (Stamps::EndsAreAudio, Some(1..)) => ticks(at),
                (Stamps::LastIsAudio, Some(_)) if index == last => ticks(at),
                _ => ticks(press.at),
            };
            let lasted = match gateway.counts {
                Counts::Constant => gateway.every,
                Counts::Whole => press.held,
                _ => lasted,
            };
            let marker = match gateway.marks {
                Marks::First => index == 0,
                Marks::None => false,
                Marks::All => true,
            };
            let code = KEYS.find(press.key).unwrap() as u8;
            let duration = (lasted * gateway.clocks.0) as u16;
            let event = Some((code, end.is_some(), duration));
            events.push((at, timestamp, marker, event, Some(n), index * 2 > last));
        }
    }
    let held = |ms: u64| {
        presses.iter().any(|p| {
            let ends = gateway.ends.saturating_sub(1) * gateway.ends_every;
            (p.at..=p.at + p.held + ends).contains(&(ms - 1))
        })
    };
    let mut all = vec![];
    for ms in (FRAME_MS..until).step_by(FRAME_MS as usize) {
        // Enough of it for the source to prove itself, whatever there is afterwards.
        if ms <= 400 || gateway.audio && (gateway.beside || !held(ms)) {
            all.push((ms, ticks(ms - FRAME_MS), false, None, None, false));
        }
    }
    all.extend(events);
    all.sort_by_key(|&(ms, ..)| ms);
    let (mut seq, mut ssrc, mut half) = (65_500u16, 5, None);
    let mut packets = vec![];
    for (ms, timestamp, marker, event, press, second) in all {
        if gateway.renamed && second && half != press {
            (half, seq, ssrc) = (press, seq.wrapping_add(20_000), ssrc + 1);
        }
        seq = seq.wrapping_add(1);
        let payload_type = if event.is_some() { EVENT } else { AUDIO };
        let sent = Time::ms(ms);
        packets.push(Packet {
            sent,
            arrives: sent,
            ssrc,
            seq,
            timestamp,
            marker,
            payload_type,
            event,
            press,
        });
    }
    packets
}

/// What arrives, in the order in which it does. The beginning of a call is spared: the source is to be known.
pub fn over(network: Network, packets: &[Packet], seed: u64) -> Vec<Packet> {
    let mut rng = Rng::new(seed);
    let mut arrived = vec![];
    for packet in packets {
        let spared = packet.sent < Time::ms(400);
        let delay = |rng: &mut Rng| {
            let mut ms = 40.0;
            if !spared {
                ms += (-rng.unit().max(1e-9).ln() * network.jitter_ms).min(6.0 * network.jitter_ms);
                if rng.chance(network.reorder) {
                    ms += rng.unit() * network.held_up_ms;
                }
            }
            Duration::from_micros((ms * 1000.0) as u64)
        };
        if spared || !rng.chance(network.loss) {
            arrived.push(Packet { arrives: packet.sent + delay(&mut rng), ..*packet });
            if !spared && rng.chance(network.duplicate) {
                arrived.push(Packet { arrives: packet.sent + delay(&mut rng), ..*packet });
            }
        }
    }
    arrived.sort_by_key(|packet| packet.arrives);
    arrived
}

/// The keys of which a packet arrived that says more than nothing.
pub fn told(presses: &[Press], arrived: &[Packet]) -> String {
    let of = |n: usize| {
        arrived.iter().any(|p| p.press == Some(n) && p.event.is_some_and(|(.., ticks)| ticks > 0))
    };
    presses.iter().enumerate().filter(|(n, _)| of(*n)).map(|(_, press)| press.key).collect()
}

/// A gateway as there may be: standard ends, and anything else that does not take from a bad network what tells presses apart.
pub fn any(rng: &mut Rng) -> Gateway {
    let pick = |rng: &mut Rng, n: u64| rng.next_u64() % n;
    let stamps = [
        Stamps::Fixed,
        Stamps::EndsStep,
        Stamps::EndsAreAudio,
        Stamps::LastIsAudio,
        Stamps::AllAreAudio,
        Stamps::Frozen,
    ][pick(rng, 6) as usize];
    let frozen = stamps == Stamps::Frozen;
    let marks = [Marks::First, Marks::None, Marks::All][pick(rng, 3) as usize];
    let every = [10, 20, 20, 30, 50][pick(rng, 5) as usize];
    let audio = !frozen && (rng.chance(0.8) || stamps == Stamps::EndsAreAudio);
    Gateway {
        stamps,
        counts: [Counts::Grow, Counts::Grow, Counts::FromZero][pick(rng, 3) as usize],
        marks: if frozen { Marks::First } else { marks },
        every,
        ends: 3,
        ends_every: if rng.chance(0.8) { every.min(20) } else { 0 },
        audio,
        beside: audio && rng.chance(0.5),
        ..PLAIN
    }
}

/// Presses of a few keys, again and again of the same ones, from `at` on: of 100 ms at least, 80 ms apart at least.
pub fn presses(rng: &mut Rng, mut at: u64) -> Vec<Press> {
    let keys = 1 + rng.next_u64() % 6;
    let press = |_| {
        let held = 100 + rng.next_u64() % 200;
        let press = Press { key: ['1', '1', '2'][(rng.next_u64() % 3) as usize], at, held };
        at += held + 80 + rng.next_u64() % 200;
        press
    };
    (0..keys).map(press).collect()
}
