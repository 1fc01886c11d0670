//! What payloads of events count at, and what the timestamps do.

use super::{duration_to_ticks, ticks_to_duration, SEGMENT_TICKS};
use crate::time::Duration;

/// Both in Hz: not the same beside a codec of another clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clocks {
    pub(super) events: u32,
    stream: u32,
}

impl Clocks {
    pub(super) fn new(events: u32, stream: u32) -> Clocks {
        let least = events.min(stream);
        assert!(least > 0, "the RTP clock rate must be at least 1 Hz, got {least}");
        Clocks { events, stream }
    }

    /// How long so many ticks of payloads last.
    pub(super) fn lasts(self, ticks: u64) -> Duration {
        ticks_to_duration(ticks, self.events)
    }

    /// A span in ticks of payloads.
    pub(super) fn event_ticks(self, span: Duration) -> u64 {
        duration_to_ticks(span, self.events)
    }

    /// A span in ticks of the timestamps.
    pub(super) fn stream_ticks(self, span: Duration) -> u64 {
        duration_to_ticks(span, self.stream)
    }

    /// A duration of payloads in ticks of the timestamps.
    pub(super) fn on_the_wire(self, ticks: u64) -> u64 {
        ticks.saturating_mul(self.stream.into()) / u64::from(self.events)
    }

    /// The other way round.
    pub(super) fn stated(self, ticks: u64) -> u64 {
        ticks.saturating_mul(self.events.into()) / u64::from(self.stream)
    }

    /// The longest segment in ticks of the timestamps.
    pub(super) fn longest(self) -> u64 {
        self.on_the_wire(u64::from(SEGMENT_TICKS))
    }
}
