//! How good a call sounds, by the E-model (ITU-T G.107): a rating R of 0 to 100, and the mean opinion score of it.
//!
//! `R = Ro − Is − Idd − Ie,eff`, with every parameter that a packet cannot tell at its default (G.107 table 2, which gives
//! `Ro − Is = 93.2`). Echo is taken to be cancelled, as it is by every telephone and gateway, so of the delay impairments
//! only Idd counts. Wideband codecs are rated on this same narrow-band scale: what they sound better than G.711 does not
//! show, and what loss and delay take from them does.

use crate::time::Duration;

/// Ro − Is of a call with default parameters (G.107 §7, table 2).
const BASE: f64 = 93.2;

/// What a codec loses by coding, and how well it bears loss (ITU-T G.113 appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// Ie: the equipment impairment factor without loss.
    pub ie: f64,
    /// Bpl: the packet-loss robustness factor.
    pub bpl: f64,
}

impl Impairment {
    /// G.711 with a concealment as good as G.711 appendix I (G.113 table I.4).
    ///
    /// It stands for the other codecs too: G.113 has no values for them on this scale. Linear audio and G.722 are concealed
    /// as G.711 is and sound no worse; nor does Opus, whose packets that in-band FEC recovers are not lost here at all.
    pub const G711_CONCEALED: Impairment = Impairment { ie: 0.0, bpl: 25.1 };
    /// G.711 whose losses are gaps (G.113 table I.4).
    pub const G711_BARE: Impairment = Impairment { ie: 0.0, bpl: 4.3 };
}

/// What there is to be rated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// The codec.
    pub impairment: Impairment,
    /// Packets that were lost or came too late, as a fraction, 0 to 1.
    pub loss: f64,
    /// How much longer losses last than random ones would: 1 for random loss, more for bursts (G.107 §7.4 BurstR).
    pub burst_ratio: f64,
    /// From the mouth to the ear.
    pub delay: Duration,
}

/// The rating R, 0 to 93.2 (G.107 §7.1).
pub fn rating(conditions: &Conditions) -> f64 {
    let Conditions { impairment, loss, burst_ratio, delay } = *conditions;
    let percent = 100.0 * loss.clamp(0.0, 1.0);
    // Ie,eff = Ie + (95 − Ie) · Ppl / (Ppl / BurstR + Bpl), G.107 §7.4.
    let effective = impairment.ie
        + (95.0 - impairment.ie) * percent / (percent / burst_ratio.max(1.0) + impairment.bpl);
    (BASE - delay_impairment(delay) - effective).clamp(0.0, BASE)
}

/// The mean opinion score of a rating, 1 to 4.5 (G.107 annex B).
pub fn mos(rating: f64) -> f64 {
    if rating <= 0.0 {
        return 1.0;
    }
    if rating >= 100.0 {
        return 4.5;
    }
    // Below a rating of 6.5 the polynomial dips under the least that anybody can say.
    (1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6).max(1.0)
}

/// Idd: what a long way takes from a conversation, nothing up to 100 ms (G.107 §7.3).
fn delay_impairment(delay: Duration) -> f64 {
    let ms = delay.as_secs_f64() * 1e3;
    if ms <= 100.0 {
        return 0.0;
    }
    let x = (ms / 100.0).log2();
    let root = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call(loss: f64, burst_ratio: f64, delay_ms: u64) -> Conditions {
        let delay = Duration::from_millis(delay_ms);
        Conditions { impairment: Impairment::G711_CONCEALED, loss, burst_ratio, delay }
    }

    fn near(value: f64, expected: f64, within: f64) {
        assert!((value - expected).abs() <= within, "{value} is not {expected}");
    }

    #[test]
    fn g107_a_perfect_call_is_rated_93_2_and_scores_4_41() {
        near(rating(&call(0.0, 1.0, 50)), 93.2, 1e-9);
        near(mos(93.2), 4.41, 0.005);
    }

    #[test]
    fn g107_annex_b_the_scores_that_stand_in_its_table() {
        for (r, score) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            near(mos(r), score, 0.0065);
        }
        assert_eq!(
            (mos(-5.0), mos(0.0), mos(3.0), mos(100.0), mos(120.0)),
            (1.0, 1.0, 1.0, 4.5, 4.5)
        );
    }

    #[test]
    fn g107_7_3_delay_costs_nothing_to_100_ms_and_more_and_more_after_it() {
        assert_eq!(delay_impairment(Duration::from_millis(100)), 0.0);
        // By hand from the formula: X = 1 at 200 ms and 2 at 400 ms.
        near(delay_impairment(Duration::from_millis(200)), 3.04, 0.02);
        near(delay_impairment(Duration::from_millis(400)), 24.1, 0.1);
    }

    #[test]
    fn g107_7_4_loss_by_codec_and_burst() {
        // 5 % of random loss on concealed G.711: Ie,eff = 95 · 5 / 30.1.
        near(rating(&call(0.05, 1.0, 0)), 93.2 - 15.78, 0.01);
        let bare = Conditions { impairment: Impairment::G711_BARE, ..call(0.05, 1.0, 0) };
        near(rating(&bare), 93.2 - 51.08, 0.01);
        // The same loss in bursts twice as long: 95 · 5 / (2.5 + 25.1).
        near(rating(&call(0.05, 2.0, 0)), 93.2 - 17.21, 0.01);
    }

    proptest! {
        #[test]
        fn more_of_any_harm_is_never_better(
            loss in 0.0..1.0f64, more in 0.0..0.5f64, burst in 0.0..8.0f64, ms in 0u64..2000, later in 0u64..500
        ) {
            let here = rating(&call(loss, burst, ms));
            prop_assert!(rating(&call(loss + more, burst, ms)) <= here);
            prop_assert!(rating(&call(loss, burst + more, ms)) <= here);
            prop_assert!(rating(&call(loss, burst, ms + later)) <= here + 1e-9);
            prop_assert!((0.0..=93.2).contains(&here));
            prop_assert!((1.0..=4.5).contains(&mos(here)));
        }
    }
}
