//! How losses lie: in bursts or alone in gaps (RFC 3611 §4.7.2).
//!
//! A *burst* begins and ends with a loss, and never more than 15 packets in a row arrive within it; a single loss with 16
//! or more arrivals on either side is part of a *gap*. What counts as a loss is what was missing when it was to be played,
//! whether it never came or came too late.

/// Arrivals in a row that end a burst: what RFC 3611 §4.7.2 recommends.
pub const GMIN: u64 = 16;

/// See the [module](self). A few counters, however long the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bursts {
    arrived: u64,
    lost: u64,
    /// Losses that follow an arrival: each begins a run of them.
    runs: u64,
    /// Arrivals since the last loss.
    since_loss: u64,
    /// The losses that may be a burst, and the packets from the first of them to the last.
    open: Stretch,
    /// Packets before it.
    open_at: u64,
    bursts: u64,
    in_bursts: Stretch,
    /// The very first packet is part of a burst.
    begins_with_burst: bool,
    /// Losses that the next gap in the sequence tells once more.
    foretold: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stretch {
    packets: u64,
    lost: u64,
}

/// Densities as fractions of packets, lengths in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pattern {
    /// Lost of all that was to be played.
    pub loss: f64,
    /// Lost within bursts; 0 if there was none.
    pub burst_density: f64,
    /// Lost within gaps.
    pub gap_density: f64,
    /// The mean length of a burst.
    pub burst_packets: f64,
    /// The mean length of a gap.
    pub gap_packets: f64,
    /// The mean run of losses, by what it would be if each packet were lost by itself (G.107 §7.4 BurstR); 1 without loss.
    pub burst_ratio: f64,
}

impl Bursts {
    /// A packet was played.
    pub fn arrived(&mut self) {
        self.foretold = 0;
        self.arrived += 1;
        self.since_loss += 1;
    }

    /// Packets in a row were missing when they were to be played, by the gap in the sequence before the one that is.
    pub fn lost(&mut self, count: u64) {
        let known = core::mem::take(&mut self.foretold);
        self.lose(count.saturating_sub(known));
    }

    /// Packets in a row were refused before anybody looked at their numbers. If what is heard next shows the gap, it is the same.
    pub fn refused(&mut self, count: u64) {
        self.foretold += count;
        self.lose(count);
    }

    fn lose(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        if self.since_loss > 0 || self.lost == 0 {
            self.runs += 1;
        }
        if self.open.lost > 0 && self.since_loss < GMIN {
            self.open.packets += self.since_loss + count;
            self.open.lost += count;
        } else {
            self.close();
            self.open = Stretch { packets: count, lost: count };
            self.open_at = self.arrived + self.lost;
        }
        self.lost += count;
        self.since_loss = 0;
    }

    /// Packets that were to be played, and how many of them were missing.
    pub fn counts(&self) -> (u64, u64) {
        (self.arrived + self.lost, self.lost)
    }

    /// The pattern so far; a burst that may still go on counts as it stands.
    pub fn pattern(&self) -> Pattern {
        let (packets, lost) = self.counts();
        let ends_with_burst = self.open.lost > 1 && self.since_loss == 0;
        let mut closed = *self;
        closed.close();
        let Bursts { bursts, in_bursts, begins_with_burst, .. } = closed;
        let in_gaps = Stretch { packets: packets - in_bursts.packets, lost: lost - in_bursts.lost };
        let loss = share(lost, packets);
        // Between two bursts there is always one; before the first and after the last there may be.
        let gaps = bursts + 1 - u64::from(begins_with_burst) - u64::from(ends_with_burst);
        Pattern {
            loss,
            burst_density: share(in_bursts.lost, in_bursts.packets),
            gap_density: share(in_gaps.lost, in_gaps.packets),
            burst_packets: share(in_bursts.packets, bursts),
            gap_packets: share(in_gaps.packets, gaps),
            burst_ratio: if lost == 0 { 1.0 } else { share(lost, self.runs) * (1.0 - loss) },
        }
    }

    /// The open losses are a burst, or one loss of a gap.
    fn close(&mut self) {
        if self.open.lost > 1 {
            self.bursts += 1;
            self.in_bursts.packets += self.open.packets;
            self.in_bursts.lost += self.open.lost;
            self.begins_with_burst |= self.open_at == 0;
        }
        self.open = Stretch::default();
    }
}

fn share(part: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        part as f64 / of as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `x` is a loss, anything else an arrival.
    fn of(pattern: &str) -> Pattern {
        of_losses(pattern.chars().map(|c| c == 'x'))
    }

    fn of_losses(losses: impl IntoIterator<Item = bool>) -> Pattern {
        let mut bursts = Bursts::default();
        for lost in losses {
            if lost {
                bursts.lost(1);
            } else {
                bursts.arrived();
            }
        }
        bursts.pattern()
    }

    #[test]
    fn nothing_lost_is_one_gap_without_density() {
        assert_eq!(of(""), Pattern { burst_ratio: 1.0, ..Pattern::default() });
        let clean = of(&".".repeat(100));
        assert_eq!((clean.gap_packets, clean.gap_density, clean.burst_packets), (100.0, 0.0, 0.0));
    }

    #[test]
    fn rfc3611_4_7_2_fifteen_arrivals_go_on_with_a_burst_and_sixteen_end_it() {
        let quiet = ".".repeat(20);
        let within = of(&format!("{quiet}x{}x{quiet}", ".".repeat(15)));
        assert_eq!((within.burst_packets, within.burst_density), (17.0, 2.0 / 17.0));
        assert_eq!((within.gap_packets, within.gap_density), (20.0, 0.0));
        let apart = of(&format!("{quiet}x{}x{quiet}", ".".repeat(16)));
        assert_eq!((apart.burst_packets, apart.burst_density), (0.0, 0.0));
        assert_eq!((apart.gap_packets, apart.gap_density), (58.0, 2.0 / 58.0));
    }

    #[test]
    fn all_lost_is_one_burst_and_no_gap() {
        let gone = of("xxxxxxxxxx");
        assert_eq!((gone.burst_packets, gone.burst_density, gone.gap_packets), (10.0, 1.0, 0.0));
        assert_eq!(gone.loss, 1.0);
    }

    #[test]
    fn losses_in_a_row_are_a_greater_burst_ratio_than_losses_alone() {
        let alone = of(&"x.........".repeat(50));
        let pairs = of(&"xx..................".repeat(25));
        assert_eq!((alone.loss, pairs.loss), (0.1, 0.1));
        assert!((alone.burst_ratio - 0.9).abs() < 1e-9 && (pairs.burst_ratio - 1.8).abs() < 1e-9);
    }

    #[test]
    fn what_was_refused_and_is_missing_in_the_sequence_as_well_is_lost_once() {
        let counts = |refused: u64, missing: u64| {
            let mut bursts = Bursts::default();
            (0..10).for_each(|_| bursts.arrived());
            bursts.refused(refused / 2);
            bursts.refused(refused - refused / 2);
            bursts.lost(missing);
            bursts.arrived();
            bursts.lost(1);
            bursts.arrived();
            bursts.counts()
        };
        assert_eq!(counts(100, 100), (10 + 100 + 1 + 1 + 1, 101));
        assert_eq!(counts(100, 103), (10 + 103 + 1 + 1 + 1, 104), "three were lost on the way");
        assert_eq!(counts(100, 0), counts(100, 100), "its numbers go on, or begin anew");
        assert_eq!(counts(0, 100), counts(100, 100));
    }

    /// The same by the words of RFC 3611 §4.7.2, packet by packet and not at all in one pass.
    fn by_the_words(losses: &[bool]) -> (f64, f64, f64, f64) {
        let at: Vec<usize> = (0..losses.len()).filter(|&n| losses[n]).collect();
        let mut in_burst = vec![false; losses.len()];
        for (i, &a) in at.iter().enumerate() {
            for &b in &at[i + 1..] {
                let longest_run =
                    losses[a..=b].split(|lost| *lost).map(<[bool]>::len).max().unwrap_or(0);
                if longest_run < GMIN as usize {
                    in_burst[a..=b].fill(true);
                }
            }
        }
        let part = |of_burst: bool| {
            let mine: Vec<usize> = (0..losses.len()).filter(|&n| in_burst[n] == of_burst).collect();
            let lost = mine.iter().filter(|&&n| losses[n]).count();
            let begins = |&&n: &&usize| n == 0 || in_burst[n - 1] != of_burst;
            (
                share(lost as u64, mine.len() as u64),
                share(mine.len() as u64, mine.iter().filter(begins).count() as u64),
            )
        };
        let ((burst_density, burst), (gap_density, gap)) = (part(true), part(false));
        (burst_density, gap_density, burst, gap)
    }

    proptest! {
        #[test]
        fn rfc3611_4_7_2_the_running_count_is_what_the_words_say(
            runs in proptest::collection::vec((0usize..40, 1usize..4), 0..12), tail in 0usize..40
        ) {
            let mut losses = Vec::new();
            for (arrivals, lost) in runs {
                losses.extend(std::iter::repeat_n(false, arrivals));
                losses.extend(std::iter::repeat_n(true, lost));
            }
            losses.extend(std::iter::repeat_n(false, tail));
            let Pattern { burst_density, gap_density, burst_packets, gap_packets, .. } =
                of_losses(losses.iter().copied());
            let expected = by_the_words(&losses);
            prop_assert_eq!((burst_density, gap_density, burst_packets, gap_packets), expected);
        }
    }
}
