//! What leaves when there is nothing to say: what fills our silence, and what keeps the way open.
//!
//! Nothing of it is playback: queue, position and the markers of speech are what they would be without.

use std::net::SocketAddr;

use super::config::{Fill, RtcpMode, SessionConfig};
use super::Session;
use crate::comfort_noise::NoiseShape;
use crate::seq::RtpTime;
use crate::time::{Duration, Time};

/// A description is sent again after this long, so that one that was lost is not missed for long. RFC 3389 §4 leaves the
/// rate open; five packets a second are a tenth of what speech takes.
const NOISE_INTERVAL: Duration = Duration::from_millis(200);

/// Dynamic types, and behind them those below 64 that may take their place (RFC 5761 §4). Of each the last ones are the
/// least likely to be in anybody's map.
const UNUSED_TYPES: [core::ops::RangeInclusive<u8>; 2] = [96..=127, 35..=63];

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Idle {
    fill: Fill,
    /// The type of comfort noise beside the present codec, if the far end takes one.
    noise_type: Option<u8>,
    noise: NoiseShape,
    /// How long ago noise was described in the present silence; `None` if it was not yet.
    since_noise: Option<Duration>,
    keepalive: Option<Duration>,
    /// A type that stands for nothing, if the map leaves one.
    unused_type: Option<u8>,
    /// The count of packets when it was looked at last, and when it last changed.
    sent: u64,
    sent_at: Time,
}

impl Idle {
    pub(super) fn new(config: &SessionConfig, now: Time) -> Idle {
        let mut idle = Idle {
            fill: Fill::None,
            noise_type: None,
            noise: NoiseShape::white(127),
            since_noise: None,
            keepalive: None,
            unused_type: None,
            sent: 0,
            sent_at: now,
        };
        idle.update(config);
        idle
    }

    /// Goes over to what a new configuration asks for.
    pub(super) fn update(&mut self, config: &SessionConfig) {
        self.fill = config.fill;
        self.noise_type = config.send_noise().map(|noise| noise.payload_type);
        self.noise = NoiseShape::white(config.noise_level);
        self.since_noise = None;
        self.keepalive = config.keepalive;
        self.unused_type = UNUSED_TYPES
            .into_iter()
            .flat_map(core::ops::RangeInclusive::rev)
            .find(|number| !config.uses_type(*number));
    }

    /// Speech leaves: the silence after it is a new one.
    pub(super) fn spoke(&mut self) {
        self.since_noise = None;
    }

    /// Whether a frame without speech is to be coded silence.
    pub(super) fn fills_with_silence(&self) -> bool {
        match self.fill {
            Fill::None => false,
            Fill::Silence => true,
            Fill::ComfortNoise => self.noise_type.is_none(),
        }
    }

    /// What describes the noise in a frame without speech, if it is time to: type and payload.
    pub(super) fn noise_due(&mut self, ptime: Duration) -> Option<(u8, [u8; 1])> {
        let payload_type = self.noise_type.filter(|_| self.fill == Fill::ComfortNoise)?;
        let since = self.since_noise.map_or(NOISE_INTERVAL, |since| since + ptime);
        let due = since >= NOISE_INTERVAL;
        self.since_noise = Some(if due { Duration::ZERO } else { since });
        due.then(|| (payload_type, self.noise.level_payload()))
    }
}

impl Session {
    /// Sends a keep-alive if nothing has left from the RTP port for so long (RFC 6263).
    ///
    /// With RTCP-mux a report, as the RFC recommends (§4.3, §5). Else comfort noise where the far end takes it, of a level
    /// that is silence (§4.2): gateways know it. Else an empty packet of a type that stands for nothing (§4.6), which is no
    /// media and therefore fits a stream on hold as well.
    pub(super) fn keep_alive(&mut self, now: Time) {
        let sent = self.left_from_rtp_port();
        let idle = &mut self.idle;
        if sent != idle.sent {
            (idle.sent, idle.sent_at) = (sent, now);
        }
        let (Some(interval), Some(to)) = (idle.keepalive, self.inbound.guard.destination()) else {
            return;
        };
        if now - idle.sent_at >= interval {
            self.send_keep_alive(now, to);
            let sent = self.left_from_rtp_port();
            self.stats.keepalives_sent += sent - self.idle.sent;
            (self.idle.sent, self.idle.sent_at) = (sent, now);
        }
    }

    /// Datagrams that left from the RTP port so far.
    fn left_from_rtp_port(&self) -> u64 {
        let mux = self.reports.mode == RtcpMode::Mux;
        self.stats.packets_sent + if mux { self.stats.rtcp_sent } else { 0 }
    }

    fn send_keep_alive(&mut self, now: Time, to: SocketAddr) {
        if self.reports.mode == RtcpMode::Mux {
            self.send_report(now, None);
            return;
        }
        let noise = self.idle.noise_type.filter(|_| self.outbound.direction.sends());
        let timestamp = self.outbound.last_timestamp();
        match (noise, self.idle.unused_type) {
            (Some(payload_type), _) => {
                let silence = NoiseShape::white(127).level_payload();
                self.send_beside(to, payload_type, timestamp, &silence);
            }
            (None, Some(payload_type)) => self.send_beside(to, payload_type, timestamp, &[]),
            (None, None) => {}
        }
    }

    /// Sends a packet that is no speech. The marker stays clear: it is not the first of a talkspurt (RFC 3551 §4.1).
    pub(super) fn send_beside(
        &mut self,
        to: SocketAddr,
        payload_type: u8,
        timestamp: RtpTime,
        payload: &[u8],
    ) {
        let mut bytes = self.outbound.header(false, payload_type, timestamp, payload.len());
        bytes.extend_from_slice(payload);
        self.transmit(to, bytes);
    }
}
