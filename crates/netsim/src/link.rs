//! One direction of a network path.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::loss::{Loss, LossState};
use crate::rng::Rng;

/// What a link does to packets. The default link is perfect: nothing is lost and everything arrives at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkConfig {
    /// What every packet takes at least.
    pub delay: Duration,
    /// What it takes on top, drawn for each packet.
    pub jitter: Jitter,
    /// Which packets never arrive.
    pub loss: Loss,
    /// Which packets are held up so that others overtake them.
    pub reorder: Option<Reorder>,
    /// The probability that a packet arrives twice. The copy takes its own jitter and reordering.
    pub duplicate: f64,
    /// The narrowest place of the path.
    pub bottleneck: Option<Bottleneck>,
}

/// Variation of delay. Packets keep their order through it, as in the queue of a router: one that would overtake
/// arrives together with the one before. What overtakes is [`Reorder`]'s.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Jitter {
    /// None.
    #[default]
    None,
    /// Uniform from zero to this.
    Uniform(Duration),
    /// The absolute value of a normal distribution with this deviation: mean 0.8 of it.
    Normal(Duration),
    /// Exponential with this mean: mostly little, sometimes a spike.
    Exponential(Duration),
}

/// Packets that leave the queue late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reorder {
    /// The share of packets.
    pub probability: f64,
    /// They are late by a time uniform from zero to this.
    pub extra: Duration,
}

/// A place that passes one packet after another, with a queue before it that drops what does not fit (drop-tail).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bottleneck {
    /// What it takes for one packet: its length over the bandwidth. Voice packets are of one size.
    pub per_packet: Duration,
    /// How many packets wait at most, the one in passing included; at least 1.
    pub queue: usize,
}

/// What a link did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Packets given to it.
    pub sent: u64,
    /// Lost by the loss model.
    pub lost: u64,
    /// Dropped before the bottleneck.
    pub overflowed: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Packets held up.
    pub reordered: u64,
    /// Packets handed out, copies included.
    pub received: u64,
}

/// One direction of a network path, from a seed.
///
/// A packet passes, in this order: the loss model, the bottleneck, the fixed delay, jitter, reordering, duplication. The
/// draws of a packet do not depend on those of other packets' payloads or times, so with one seed and one configuration
/// the n-th packet always meets the same fate. Packets come out in the order of arrival; of those that arrive at the same
/// nanosecond, in the order they were sent.
#[derive(Clone, Debug)]
pub struct Link<T> {
    config: LinkConfig,
    rng: Rng,
    loss: LossState,
    flight: BinaryHeap<Reverse<InFlight<T>>>,
    /// The number of the next packet or copy: the tie-break.
    order: u64,
    /// The latest arrival of a packet that kept its place.
    in_order: Duration,
    /// When the packets in the bottleneck have passed it, oldest first.
    passing: VecDeque<Duration>,
    counts: LinkCounts,
}

impl<T: Clone> Link<T> {
    /// A link with nothing on it.
    pub fn new(config: LinkConfig, seed: u64) -> Link<T> {
        let mut rng = Rng::new(seed);
        let loss = LossState::new(config.loss, &mut rng);
        Link {
            config,
            rng,
            loss,
            flight: BinaryHeap::new(),
            order: 0,
            in_order: Duration::ZERO,
            passing: VecDeque::new(),
            counts: LinkCounts::default(),
        }
    }

    /// Changes the conditions for the packets sent from now on; those on their way keep their arrival.
    pub fn reconfigure(&mut self, config: LinkConfig) {
        if config.loss != self.config.loss {
            self.loss = LossState::new(config.loss, &mut self.rng);
        }
        self.config = config;
    }

    /// Puts a packet on the link at `now`, which must not run backwards.
    pub fn send(&mut self, now: Duration, payload: T) {
        self.counts.sent += 1;
        // Every packet draws the same number of times, so that one packet's fate does not shift the next one's.
        let lost = self.loss.loses(&mut self.rng);
        let copied = self.rng.chance(self.config.duplicate);
        let first = self.draw();
        let second = self.draw();
        if lost {
            self.counts.lost += 1;
            return;
        }
        let Some(passed) = self.pass_bottleneck(now) else {
            self.counts.overflowed += 1;
            return;
        };
        if copied {
            self.counts.duplicated += 1;
            self.launch(passed, first, payload.clone());
            self.launch(passed, second, payload);
        } else {
            self.launch(passed, first, payload);
        }
    }

    /// When the next packet arrives, if one is on its way.
    pub fn next_arrival(&self) -> Option<Duration> {
        self.flight.peek().map(|Reverse(packet)| packet.at)
    }

    /// The next packet that has arrived by `now`, with the time it arrived.
    pub fn receive(&mut self, now: Duration) -> Option<(Duration, T)> {
        if self.next_arrival()? > now {
            return None;
        }
        let Reverse(packet) = self.flight.pop()?;
        self.counts.received += 1;
        Some((packet.at, packet.payload))
    }

    /// What it did so far.
    pub fn counts(&self) -> LinkCounts {
        self.counts
    }

    /// One packet's jitter, and how late it is beyond its place, if it is.
    fn draw(&mut self) -> (Duration, Option<Duration>) {
        let (uniform, exponential, normal) =
            (self.rng.unit(), self.rng.exponential(), self.rng.normal().abs());
        let jitter = match self.config.jitter {
            Jitter::None => Duration::ZERO,
            Jitter::Uniform(most) => most.mul_f64(uniform),
            Jitter::Normal(deviation) => deviation.mul_f64(normal),
            Jitter::Exponential(mean) => mean.mul_f64(exponential),
        };
        let (late, by) = (self.rng.unit(), self.rng.unit());
        let extra = self
            .config
            .reorder
            .filter(|reorder| late < reorder.probability)
            .map(|reorder| reorder.extra.mul_f64(by));
        (jitter, extra)
    }

    /// When a packet that comes to the bottleneck at `now` has passed it; `None` if the queue is full.
    fn pass_bottleneck(&mut self, now: Duration) -> Option<Duration> {
        let Some(bottleneck) = self.config.bottleneck else { return Some(now) };
        while self.passing.front().is_some_and(|&passed| passed <= now) {
            self.passing.pop_front();
        }
        if self.passing.len() >= bottleneck.queue.max(1) {
            return None;
        }
        let free = self.passing.back().map_or(now, |&last| last.max(now));
        self.passing.push_back(free + bottleneck.per_packet);
        Some(free + bottleneck.per_packet)
    }

    fn launch(&mut self, from: Duration, drawn: (Duration, Option<Duration>), payload: T) {
        let (jitter, extra) = drawn;
        let in_place = (from + self.config.delay + jitter).max(self.in_order);
        let at = match extra {
            Some(extra) => {
                self.counts.reordered += 1;
                in_place + extra
            }
            None => {
                self.in_order = in_place;
                in_place
            }
        };
        self.flight.push(Reverse(InFlight { at, order: self.order, payload }));
        self.order += 1;
    }
}

#[derive(Clone, Debug)]
struct InFlight<T> {
    at: Duration,
    order: u64,
    payload: T,
}

// Order by arrival, then by launch; what is carried has no say.
impl<T> Ord for InFlight<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
impl<T> PartialOrd for InFlight<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> PartialEq for InFlight<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl<T> Eq for InFlight<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Sends `count` numbered packets, one every 20 ms; what arrives, in order.
    fn run(config: LinkConfig, seed: u64, count: u64) -> (Vec<(Duration, u64)>, LinkCounts) {
        let mut link = Link::new(config, seed);
        for n in 0..count {
            link.send(ms(20 * n), n);
        }
        let arrived = std::iter::from_fn(|| link.receive(Duration::MAX)).collect();
        (arrived, link.counts())
    }

    const BAD: LinkConfig = LinkConfig {
        delay: ms(40),
        jitter: Jitter::Exponential(ms(10)),
        loss: Loss::GilbertElliott { p: 0.02, r: 0.3, good: 0.01, bad: 0.7 },
        reorder: Some(Reorder { probability: 0.1, extra: ms(60) }),
        duplicate: 0.05,
        bottleneck: Some(Bottleneck { per_packet: ms(2), queue: 10 }),
    };

    #[test]
    fn one_seed_is_one_network_and_another_seed_another() {
        assert_eq!(run(BAD, 5, 5000), run(BAD, 5, 5000));
        assert_ne!(run(BAD, 5, 5000).0, run(BAD, 6, 5000).0);
    }

    #[test]
    fn the_default_link_is_perfect() {
        let (arrived, counts) = run(LinkConfig::default(), 1, 100);
        assert!(arrived.iter().copied().eq((0..100).map(|n| (ms(20 * n), n))));
        assert_eq!(counts, LinkCounts { sent: 100, received: 100, ..LinkCounts::default() });
    }

    #[test]
    fn nothing_is_received_before_it_arrives_and_ties_keep_the_order_of_sending() {
        let mut link = Link::new(LinkConfig { delay: ms(30), ..LinkConfig::default() }, 1);
        for name in ["a", "b", "c"] {
            link.send(ms(10), name);
        }
        assert_eq!(link.next_arrival(), Some(ms(40)));
        assert_eq!(link.receive(Duration::from_nanos(39_999_999)), None);
        let order: Vec<_> = std::iter::from_fn(|| link.receive(ms(40))).collect();
        assert_eq!(order, [(ms(40), "a"), (ms(40), "b"), (ms(40), "c")]);
        assert_eq!(link.next_arrival(), None);
    }

    #[test]
    fn jitter_keeps_the_order_and_stays_within_its_kind() {
        for (jitter, mean_ms) in [
            (Jitter::Uniform(ms(10)), 5.0),
            (Jitter::Normal(ms(5)), 5.0 * (2.0 / std::f64::consts::PI).sqrt()),
            (Jitter::Exponential(ms(4)), 4.0),
        ] {
            let (arrived, _) =
                run(LinkConfig { delay: ms(50), jitter, ..LinkConfig::default() }, 2, 50_000);
            assert!(arrived.windows(2).all(|pair| pair[0].1 < pair[1].1), "{jitter:?}");
            let took = |(at, n): &(Duration, u64)| (*at - ms(20 * n)).as_secs_f64() * 1e3 - 50.0;
            let mean = arrived.iter().map(took).sum::<f64>() / arrived.len() as f64;
            // Waiting for the one before adds a little where the distribution reaches past the packet interval.
            assert!((mean - mean_ms).abs() < 0.1, "{jitter:?}: {mean}");
            assert!(arrived.iter().all(|packet| took(packet) >= 0.0));
        }
    }

    #[test]
    fn reordered_packets_are_as_many_as_asked_and_no_later_than_asked() {
        let reorder = Some(Reorder { probability: 0.2, extra: ms(60) });
        let (arrived, counts) = run(LinkConfig { reorder, ..LinkConfig::default() }, 3, 50_000);
        let late = arrived.iter().filter(|(at, n)| *at > ms(20 * n)).count();
        assert!((late as f64 / 5e4 - 0.2).abs() < 0.01, "{late}");
        assert!(counts.reordered >= late as u64);
        assert!(arrived.iter().all(|(at, n)| *at - ms(20 * n) < ms(60)));
        let overtaken = arrived.windows(2).filter(|pair| pair[0].1 > pair[1].1).count();
        assert!(overtaken > 4000, "{overtaken}");
    }

    #[test]
    fn loss_and_duplicates_have_their_mean_and_every_packet_is_accounted_for() {
        let config =
            LinkConfig { loss: Loss::Random(0.2), duplicate: 0.1, ..LinkConfig::default() };
        let (arrived, counts) = run(config, 4, 100_000);
        assert!((counts.lost as f64 / 1e5 - 0.2).abs() < 0.005);
        assert!((counts.duplicated as f64 / 8e4 - 0.1).abs() < 0.005);
        assert_eq!(counts.received, counts.sent - counts.lost + counts.duplicated);
        assert_eq!(arrived.len() as u64, counts.received);
    }

    #[test]
    fn a_burst_into_a_bottleneck_waits_and_what_does_not_fit_is_dropped() {
        let bottleneck = Some(Bottleneck { per_packet: ms(5), queue: 3 });
        let mut link =
            Link::new(LinkConfig { bottleneck, delay: ms(1), ..LinkConfig::default() }, 1);
        for n in 0..5 {
            link.send(ms(0), n);
        }
        link.send(ms(5), 5); // the first has just passed: there is room again
        let arrived: Vec<_> = std::iter::from_fn(|| link.receive(Duration::MAX)).collect();
        assert_eq!(arrived, [(ms(6), 0), (ms(11), 1), (ms(16), 2), (ms(21), 5)]);
        assert_eq!(link.counts().overflowed, 2);
    }

    #[test]
    fn better_conditions_help_the_packets_that_are_sent_after() {
        let mut link =
            Link::new(LinkConfig { loss: Loss::Random(1.0), ..LinkConfig::default() }, 1);
        link.send(ms(0), "lost");
        link.reconfigure(LinkConfig::default());
        link.send(ms(20), "heard");
        assert_eq!(link.receive(Duration::MAX), Some((ms(20), "heard")));
        assert_eq!(link.receive(Duration::MAX), None);
    }
}
