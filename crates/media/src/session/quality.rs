//! How good the call is, both ways: what RTCP tells the far end of it, and what statistics tell the program.

use super::reports::FarEnd;
use super::Session;
use crate::bursts::{Pattern, GMIN};
use crate::emodel::{mos, rating, Conditions, Impairment};
use crate::rtcp::xr::{VoipMetrics, ENHANCED_AND_FIXED, NO_LEVEL, UNAVAILABLE};
use crate::stats::Stats;
use crate::time::Duration;

/// What a far end that does not say it is taken to hold its packets back for.
const USUAL_BUFFER: Duration = Duration::from_millis(60);

/// Packets before which a rating says nothing.
const ENOUGH_PACKETS: u64 = 50;

/// A direction of the call, rated.
#[derive(Clone, Copy, Debug)]
struct Rating {
    r: f64,
    /// With the delay, for a conversation.
    mos: f64,
    /// Without it, for a listener.
    mos_listening: f64,
}

impl Rating {
    fn of(loss: f64, burst_ratio: f64, delay: Duration) -> Rating {
        let impairment = Impairment::G711_CONCEALED;
        let conditions = Conditions { impairment, loss, burst_ratio, delay };
        let r = rating(&conditions);
        let listening = rating(&Conditions { delay: Duration::ZERO, ..conditions });
        Rating { r, mos: mos(r), mos_listening: mos(listening) }
    }
}

/// What the ratings of both directions are made of: they are made where somebody looks at them, and not with every frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ratings {
    heard: Option<Heard>,
    /// The far end's own rating and score; without, what its reports of loss come to.
    told: Option<(f64, f64)>,
    reported: Option<Heard>,
}

/// What is heard somewhere, to be rated.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Heard {
    loss: f64,
    burst_ratio: f64,
    delay: Duration,
}

impl Heard {
    fn rated(self) -> Rating {
        Rating::of(self.loss, self.burst_ratio, self.delay)
    }
}

impl Ratings {
    /// Fills them in.
    pub fn fill(&self, stats: &mut Stats) {
        if let Some(rating) = self.heard.map(Heard::rated) {
            stats.r_factor = Some(rating.r as f32);
            stats.mos = Some(rating.mos as f32);
            stats.mos_listening = Some(rating.mos_listening as f32);
        }
        let reported = || self.reported.map(Heard::rated).map(|rating| (rating.r, rating.mos));
        if let Some((r, mos)) = self.told.or_else(reported) {
            stats.remote_r_factor = Some(r as f32);
            stats.remote_mos = Some(mos as f32);
        }
    }
}

impl Session {
    /// What RFC 3611 §4.7 reports of the trusted source.
    pub(super) fn voip_metrics(&self) -> Option<VoipMetrics> {
        let source = self.inbound.source.as_ref().filter(|s| s.ssrc != self.outbound.ssrc)?;
        let playout = &self.inbound.playout;
        let pattern = playout.bursts().pattern();
        let expected = source.reception.expected().max(1) as f64;
        let lost = source.reception.missing() as f64;
        let late =
            (self.stats.late + self.stats.overflow).saturating_sub(source.late_before) as f64;
        let packet_ms = self.packet_span().as_secs_f64() * 1e3;
        let span_ms = |packets: f64| (packets * packet_ms).round().min(65_535.0) as u16;
        let rated = self.heard().map(Heard::rated);
        let score = |value: Option<f64>| value.map_or(UNAVAILABLE, |v| (v * 10.0).round() as u8);
        let levels = playout.levels();
        let level = |value: Option<f64>| value.map_or(NO_LEVEL, |dbm0| dbm0.round() as i8);
        let (_, target) = playout.depth();
        Some(VoipMetrics {
            ssrc: source.ssrc,
            loss_rate: in_256ths(lost / expected),
            discard_rate: in_256ths(late / expected),
            burst_density: in_256ths(pattern.burst_density),
            gap_density: in_256ths(pattern.gap_density),
            burst_ms: span_ms(pattern.burst_packets),
            gap_ms: span_ms(pattern.gap_packets),
            round_trip_ms: millis(self.reports.far.round_trip.unwrap_or_default()),
            end_system_ms: millis(target + self.ptime),
            signal_dbm0: level(levels.speech_dbm0()),
            noise_dbm0: level(levels.noise_dbm0()),
            // What comes back of our own voice is not measured.
            rerl_db: UNAVAILABLE,
            gmin: GMIN as u8,
            r_factor: rated.map_or(UNAVAILABLE, |rating| rating.r.round() as u8),
            external_r_factor: UNAVAILABLE,
            mos_lq: score(rated.map(|rating| rating.mos_listening)),
            mos_cq: score(rated.map(|rating| rating.mos)),
            rx_config: ENHANCED_AND_FIXED,
            jb_nominal_ms: millis(target),
            // For a buffer of fixed delay these two are one (§4.7.7): what comes earlier than that finds no room.
            jb_maximum_ms: millis(playout.longest()),
            jb_absolute_ms: millis(playout.longest()),
        })
    }

    /// What statistics tell of it beside the ratings, and what these are made of.
    pub(super) fn fill_quality(&self, stats: &mut Stats) -> Ratings {
        let playout = &self.inbound.playout;
        let Pattern { burst_density, gap_density, burst_packets, gap_packets, burst_ratio, .. } =
            playout.bursts().pattern();
        let packet = self.packet_span();
        stats.burst_density = burst_density as f32;
        stats.gap_density = gap_density as f32;
        stats.burst_duration = packet.mul_f64(burst_packets);
        stats.gap_duration = packet.mul_f64(gap_packets);
        stats.burst_ratio = burst_ratio as f32;
        stats.signal_dbm0 = playout.levels().speech_dbm0().map(|dbm0| dbm0 as f32);
        stats.noise_dbm0 = playout.levels().noise_dbm0().map(|dbm0| dbm0 as f32);
        let far = &self.reports.far;
        let (told, reported) = (rated_by_far_end(far.voip.as_ref()), self.reported(far));
        Ratings { heard: self.heard(), told, reported }
    }

    /// What we hear.
    fn heard(&self) -> Option<Heard> {
        let playout = &self.inbound.playout;
        let (packets, _) = playout.bursts().counts();
        if packets < ENOUGH_PACKETS {
            return None;
        }
        let pattern = playout.bursts().pattern();
        let delay = self.way() + self.packet_span() + playout.depth().1;
        Some(Heard { loss: pattern.loss, burst_ratio: pattern.burst_ratio, delay })
    }

    /// What the far end hears, by its reports of loss and with the delay that is usual.
    fn reported(&self, far: &FarEnd) -> Option<Heard> {
        let block = far.block?;
        let sent = self.reports.packets_of_ssrc(&self.stats);
        if sent < ENOUGH_PACKETS {
            return None;
        }
        let loss = f64::from(block.cumulative_lost.max(0)) / sent as f64;
        Some(Heard { loss, burst_ratio: 1.0, delay: self.way() + self.ptime + USUAL_BUFFER })
    }

    /// Half of the way there and back.
    fn way(&self) -> Duration {
        self.reports.far.round_trip.unwrap_or_default() / 2
    }

    /// How much audio one of the far end's packets holds; until one came, what ours hold.
    fn packet_span(&self) -> Duration {
        self.inbound.playout.packet_span().unwrap_or(self.ptime)
    }
}

/// What the far end says of what it hears.
fn rated_by_far_end(voip: Option<&VoipMetrics>) -> Option<(f64, f64)> {
    let voip = voip?;
    let known = voip.r_factor <= 100 && (10..=50).contains(&voip.mos_cq);
    known.then(|| (f64::from(voip.r_factor), f64::from(voip.mos_cq) / 10.0))
}

fn in_256ths(fraction: f64) -> u8 {
    (fraction * 256.0).floor().clamp(0.0, 255.0) as u8
}

fn millis(span: Duration) -> u16 {
    u16::try_from(span.as_millis()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3611_4_7_1_a_fraction_is_the_integer_part_in_256ths_and_255_at_the_most() {
        let told = [0.0, 0.0039, 1.0 / 256.0, 0.5, 0.9999, 1.0, f64::NAN].map(in_256ths);
        assert_eq!(told, [0, 0, 1, 128, 255, 255, 0]);
    }

    #[test]
    fn rfc3611_4_7_what_16_bits_of_milliseconds_cannot_say_is_the_most_they_can() {
        let told = [0, 65_535, 65_536, 10_000_000].map(|ms| millis(Duration::from_millis(ms)));
        assert_eq!(told, [0, 65_535, 65_535, 65_535]);
    }

    #[test]
    fn rfc3611_4_7_5_what_the_far_end_does_not_rate_is_not_taken_for_a_rating() {
        let rated = |r_factor, mos_cq| {
            let voip = VoipMetrics { r_factor, mos_cq, ..unknown() };
            rated_by_far_end(Some(&voip))
        };
        assert_eq!(rated(93, 44), Some((93.0, 4.4)));
        assert_eq!(rated(0, 10), Some((0.0, 1.0)));
        for (r_factor, mos_cq) in [(127, 44), (93, 127), (101, 44), (93, 9), (93, 51)] {
            assert_eq!(rated(r_factor, mos_cq), None, "{r_factor} {mos_cq}");
        }
    }

    fn unknown() -> VoipMetrics {
        let bytes = [0; 32];
        crate::rtcp::xr::read_voip(&bytes)
    }
}
