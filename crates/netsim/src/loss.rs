//! Which packets are lost.

use crate::rng::Rng;

/// How a link loses packets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each packet on its own, with this probability (Bernoulli). Bursts are geometric with mean 1 / (1 − p).
    Random(f64),
    /// Bursts as real networks have them: a chain of two states that may change before every packet (Gilbert 1960,
    /// Elliott 1963).
    ///
    /// The chain is in the bad state for a share `p / (p + r)` of the packets, in runs of `1 / r` packets on average; the
    /// mean loss is the two losses weighted by the states' shares. A call starts in a state drawn by these shares, so the
    /// beginning is no better than the rest.
    GilbertElliott {
        /// Probability to go from good to bad.
        p: f64,
        /// Probability to go from bad to good.
        r: f64,
        /// Loss in the good state; 0 in Gilbert's model.
        good: f64,
        /// Loss in the bad state; 1 in the simple Gilbert model, where the bad runs are the bursts.
        bad: f64,
    },
}

impl Loss {
    /// Loss of `mean` (0 to below 1) in bursts of `burst` packets (at least 1) on average: the simple Gilbert model, where
    /// everything is lost in the bad state.
    ///
    /// # Panics
    /// If no such chain exists: the good state would have to be left with a probability above 1.
    pub fn bursts(mean: f64, burst: f64) -> Loss {
        assert!((0.0..1.0).contains(&mean), "mean loss must be in [0, 1), got {mean}");
        assert!(burst >= 1.0, "a burst has at least 1 packet, got {burst}");
        let r = 1.0 / burst;
        let p = r * mean / (1.0 - mean);
        assert!(p <= 1.0, "bursts of {burst} are too short for a mean loss of {mean}");
        Loss::GilbertElliott { p, r, good: 0.0, bad: 1.0 }
    }
}

/// The state of a [`Loss`] model on one link.
#[derive(Clone, Debug)]
pub(crate) struct LossState {
    model: Loss,
    bad: bool,
}

impl LossState {
    pub(crate) fn new(model: Loss, rng: &mut Rng) -> LossState {
        let bad = match model {
            Loss::GilbertElliott { p, r, .. } if p + r > 0.0 => rng.chance(p / (p + r)),
            _ => false,
        };
        LossState { model, bad }
    }

    /// Whether the next packet is lost.
    pub(crate) fn loses(&mut self, rng: &mut Rng) -> bool {
        match self.model {
            Loss::None => false,
            Loss::Random(p) => rng.chance(p),
            Loss::GilbertElliott { p, r, good, bad } => {
                self.bad ^= rng.chance(if self.bad { r } else { p });
                rng.chance(if self.bad { bad } else { good })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean loss and mean length of a run of lost packets over a million packets.
    fn measure(model: Loss, seed: u64) -> (f64, f64) {
        let mut rng = Rng::new(seed);
        let mut state = LossState::new(model, &mut rng);
        let (mut lost, mut bursts, mut before) = (0_u32, 0_u32, false);
        for _ in 0..1_000_000 {
            let now = state.loses(&mut rng);
            lost += u32::from(now);
            bursts += u32::from(now && !before);
            before = now;
        }
        (f64::from(lost) / 1e6, f64::from(lost) / f64::from(bursts.max(1)))
    }

    fn assert_near(got: f64, wanted: f64, share: f64) {
        assert!((got - wanted).abs() <= wanted * share, "got {got}, wanted {wanted}");
    }

    #[test]
    fn random_loss_has_its_mean_and_geometric_bursts() {
        for p in [0.01, 0.05, 0.2] {
            let (mean, burst) = measure(Loss::Random(p), 11);
            assert_near(mean, p, 0.03);
            assert_near(burst, 1.0 / (1.0 - p), 0.01);
        }
        assert_eq!(measure(Loss::None, 11).0, 0.0);
        assert_eq!(measure(Loss::Random(1.0), 11).0, 1.0);
    }

    #[test]
    fn gilbert_loss_has_its_mean_and_its_burst_length() {
        for (mean, burst) in [(0.02, 3.0), (0.1, 5.0), (0.3, 10.0)] {
            let (got_mean, got_burst) = measure(Loss::bursts(mean, burst), 12);
            assert_near(got_mean, mean, 0.05);
            assert_near(got_burst, burst, 0.03);
        }
    }

    #[test]
    fn elliott_loss_weights_both_states_by_their_share() {
        let model = Loss::GilbertElliott { p: 0.01, r: 0.09, good: 0.005, bad: 0.5 };
        assert_near(measure(model, 13).0, 0.9 * 0.005 + 0.1 * 0.5, 0.05);
    }

    #[test]
    fn the_first_packets_are_lost_as_often_as_later_ones() {
        let first_lost = (0..20_000_u64)
            .filter(|&seed| {
                let mut rng = Rng::new(seed);
                LossState::new(Loss::bursts(0.2, 8.0), &mut rng).loses(&mut rng)
            })
            .count();
        assert_near(first_lost as f64 / 2e4, 0.2, 0.05);
    }

    #[test]
    #[should_panic(expected = "too short for a mean loss")]
    fn an_impossible_burst_model_is_refused() {
        let _ = Loss::bursts(0.9, 1.0);
    }
}
