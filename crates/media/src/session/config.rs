//! What a session is told when it is made.

use core::fmt;
use std::net::SocketAddr;

use crate::codec::CodecSpec;
use crate::filters::Filters;
use crate::seq::NtpTime;
use crate::source::{Policy, SourceConfig};
use crate::srtp::SrtpConfig;
use crate::time::Duration;

/// Where RTCP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpMode {
    /// On the port after RTP's, both here and there (RFC 3550 §11).
    Separate,
    /// On RTP's own port (RFC 5761).
    Mux,
    /// Nowhere.
    Off,
}

/// Who sends audio, as signalling agreed on it (RFC 3264 §5.1, RFC 8866 §6.7), seen from here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ends.
    #[default]
    SendRecv,
    /// Only we: the far end is on hold.
    SendOnly,
    /// Only the far end.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    /// Whether our audio and digits may leave.
    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }
    /// Whether audio of the far end is expected.
    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }
}

/// What is sent while nothing is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// Nothing: the packets of speech are all there is.
    #[default]
    None,
    /// Silence, coded, a packet for every frame: for far ends that wait for media, or whose timers want it.
    Silence,
    /// A description of noise where speech ends, and again now and then (RFC 3389). Where the far end takes none at the
    /// clock of the codec that is sent, silence.
    ComfortNoise,
}

/// A payload type of telephone events, and the RTP clock its durations count in: that of the audio beside it
/// (RFC 4733 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType {
    /// The number on the wire.
    pub payload_type: u8,
    /// RTP ticks per second.
    pub clock_rate: u32,
}

/// A payload type of comfort noise, and its RTP clock: that of the audio beside it (RFC 3389 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoiseType {
    /// The number on the wire.
    pub payload_type: u8,
    /// RTP ticks per second.
    pub clock_rate: u32,
}

impl NoiseType {
    /// The static type, for audio with a clock of 8 kHz (RFC 3389 §4).
    pub const STATIC: NoiseType = NoiseType { payload_type: 13, clock_rate: 8000 };
}

/// See the fields. Addresses are numeric: names are resolved before a session is made.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// What is sent, under the far end's number for it: payload types belong to the receiver (RFC 3264 §5.1).
    pub send_codec: CodecSpec,
    /// What is understood, by payload type; holds at least one codec, and each payload type once.
    pub receive_codecs: Vec<CodecSpec>,
    /// The types of RFC 4733 events that are understood; none for no events.
    pub receive_events: Vec<EventType>,
    /// Those that the far end understands. The one whose clock is that of `send_codec` is sent, or else the first.
    pub send_events: Vec<EventType>,
    /// The types of comfort noise that are understood.
    pub receive_noise: Vec<NoiseType>,
    /// Those that the far end understands. The one whose clock is that of `send_codec` is sent, or else the first.
    pub send_noise: Vec<NoiseType>,
    /// What is sent while nothing is played.
    pub fill: Fill,
    /// The level of comfort noise that is sent, in −dBov, 0 to 127.
    pub noise_level: u8,
    /// How long nothing may leave from the RTP port before a keep-alive does (RFC 6263); `None` for none.
    pub keepalive: Option<Duration>,
    /// Whether digits are also listened for in the audio (ITU-T Q.24).
    pub dtmf_inband: bool,
    /// Who sends.
    pub direction: Direction,
    /// The length of a frame: 10 to 60 ms in tens.
    pub ptime: Duration,
    /// Where the far end is said to be; `None` to learn it from its first valid stream.
    pub remote: Option<SocketAddr>,
    /// Where its RTCP is; `None` for the usual place.
    pub remote_rtcp: Option<SocketAddr>,
    /// Where RTCP travels.
    pub rtcp: RtcpMode,
    /// Who may talk.
    pub policy: Policy,
    /// The SSRC the far end announced; others are strangers.
    pub remote_ssrc: Option<crate::seq::Ssrc>,
    /// Whether our packets go to where the far end speaks from rather than to the signalled address (RFC 4961); `None`: as
    /// the policy has it.
    pub symmetric: Option<bool>,
    /// How long another address than the signalled one may be learned; `None` for ever.
    pub learn_window: Option<Duration>,
    /// Consecutive packets with which an address that was not signalled proves itself, 2 to 50.
    pub probation: u32,
    /// Packets a second that are taken of one source, at least 1.
    pub source_rate: u32,
    /// Packets a second that are taken of all sources that follow one another, at least 1.
    pub session_rate: u32,
    /// The deterministic interval between reports (RFC 3550 §6.2); below 10 ms it counts as that.
    pub rtcp_interval: Duration,
    /// Whether reports tell how the far end's voice arrives (RFC 3611).
    pub extended_reports: bool,
    /// The canonical name, unique among all participants (RFC 7022).
    pub cname: String,
    /// The wall clock at `Time::ZERO`.
    pub wallclock: NtpTime,
    /// How long inbound audio is held back, up to 500 ms.
    pub jitter_delay: Duration,
    /// The silence of the far end after which it is said to be gone.
    pub rtp_timeout: Option<Duration>,
    /// The same while the call is on hold, when RTCP counts as being heard too.
    pub rtp_timeout_on_hold: Option<Duration>,
    /// The silence of the far end's RTCP, once it came, after which it is said to be gone.
    pub rtcp_timeout: Option<Duration>,
    /// The keys that everything is encrypted and authenticated with. In an update, `None` leaves them as they are: a session
    /// that is secured stays so.
    pub srtp: Option<SrtpConfig>,
    /// Samples per second and channel of the frames delivered.
    pub sample_rate: u32,
    /// Channels of the frames delivered, 1 or 2.
    pub channels: u8,
    /// Resampling filters that were made beforehand, from and to any rates; others are made when they are first needed.
    pub filters: Filters,
}

/// A configuration that cannot be: the program's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field of [`SessionConfig`].
    pub field: &'static str,
    /// What it held and what fits.
    pub message: String,
}

impl SessionConfig {
    /// A call as most are: PCMU at 20 ms, digits on 101, RTCP on the next port.
    pub fn pcmu(remote: Option<SocketAddr>) -> SessionConfig {
        SessionConfig {
            send_codec: CodecSpec::PCMU,
            receive_codecs: vec![CodecSpec::PCMU, CodecSpec::PCMA],
            receive_events: vec![EventType { payload_type: 101, clock_rate: 8000 }],
            send_events: vec![EventType { payload_type: 101, clock_rate: 8000 }],
            receive_noise: vec![NoiseType::STATIC],
            send_noise: vec![NoiseType::STATIC],
            fill: Fill::None,
            noise_level: 70,
            keepalive: Some(Duration::from_secs(15)),
            dtmf_inband: false,
            direction: Direction::SendRecv,
            ptime: Duration::from_millis(20),
            remote,
            remote_rtcp: None,
            rtcp: RtcpMode::Separate,
            policy: Policy::Host,
            remote_ssrc: None,
            symmetric: None,
            learn_window: None,
            probation: 5,
            source_rate: 400,
            session_rate: 800,
            rtcp_interval: Duration::from_secs(5),
            extended_reports: true,
            cname: "roomkit".into(),
            wallclock: NtpTime::from_unix(Duration::ZERO),
            jitter_delay: Duration::from_millis(60),
            rtp_timeout: Some(Duration::from_secs(30)),
            rtp_timeout_on_hold: Some(Duration::from_secs(300)),
            rtcp_timeout: None,
            srtp: None,
            sample_rate: 8000,
            channels: 1,
            filters: Filters::default(),
        }
    }

    /// The type under which events are sent beside the present codec: that of its clock (RFC 4733 §2.1), or else the first.
    /// Many ends that speak Opus know events at 8000 Hz only.
    pub fn send_event(&self) -> Option<EventType> {
        let clock = self.send_codec.clock_rate;
        let events = self.send_events.iter().copied();
        events.clone().find(|event| event.clock_rate == clock).or(events.clone().next())
    }

    /// The type under which comfort noise is sent beside the present codec.
    pub fn send_noise(&self) -> Option<NoiseType> {
        let clock = self.send_codec.clock_rate;
        self.send_noise.iter().copied().find(|noise| noise.clock_rate == clock)
    }

    /// Whether a payload type stands for something, here or there.
    pub(super) fn uses_type(&self, payload_type: u8) -> bool {
        let codecs = self.receive_codecs.iter().chain([&self.send_codec]).map(|c| c.payload_type);
        let events = self.receive_events.iter().chain(&self.send_events).map(|e| e.payload_type);
        let noise = self.receive_noise.iter().chain(&self.send_noise).map(|n| n.payload_type);
        codecs.chain(events).chain(noise).any(|number| number == payload_type)
    }

    /// Says what is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |field, message: String| Err(ConfigError { field, message });
        let ms = self.ptime.as_millis();
        if ![10, 20, 30, 40, 50, 60].contains(&ms) || self.ptime.subsec_nanos() % 1_000_000 != 0 {
            return fail("ptime", format!("{:?}; expected 10 to 60 ms in tens", self.ptime));
        }
        if self.receive_codecs.is_empty() {
            return fail("receive_codecs", "empty; expected at least one codec".into());
        }
        for spec in self.receive_codecs.iter().chain([&self.send_codec]) {
            if let Err(bad) = spec.check() {
                return fail(
                    "codecs",
                    format!(
                        "{}: {} = {}; expected {}",
                        spec.name(),
                        bad.field,
                        bad.value,
                        bad.expected
                    ),
                );
            }
            if !whole_frame(self.ptime, spec.sample_rate) {
                return fail(
                    "codecs",
                    format!("{} Hz has no whole frame of {ms} ms", spec.sample_rate),
                );
            }
        }
        let mut types: Vec<u8> = self.receive_codecs.iter().map(|c| c.payload_type).collect();
        types.extend(self.receive_events.iter().map(|event| event.payload_type));
        types.extend(self.receive_noise.iter().map(|noise| noise.payload_type));
        types.sort_unstable();
        if let Some(pair) = types.windows(2).find(|pair| pair[0] == pair[1]) {
            return fail(
                "payload types",
                format!("{} stands for two things; expected each type once", pair[0]),
            );
        }
        if let Some(taken) = self.send_noise.iter().find(|noise| {
            let number = noise.payload_type;
            number == self.send_codec.payload_type
                || self.send_events.iter().any(|event| event.payload_type == number)
        }) {
            return fail(
                "comfort_noise",
                format!("{} stands for something else that is sent", taken.payload_type),
            );
        }
        if self.noise_level > 127 {
            return fail("noise_level", format!("{}; expected 0 to 127", self.noise_level));
        }
        if self.keepalive.is_some_and(|interval| interval < Duration::from_secs(1)) {
            return fail("keepalive", format!("{:?}; expected at least 1 s", self.keepalive));
        }
        for noise in self.receive_noise.iter().chain(&self.send_noise) {
            let (number, clock) = (noise.payload_type, noise.clock_rate);
            if number > 127 || (64..=95).contains(&number) || !(8000..=192_000).contains(&clock) {
                return fail(
                    "comfort_noise",
                    format!(
                        "{number} at {clock} Hz; expected 0 to 63 or 96 to 127, 8000 to 192000"
                    ),
                );
            }
        }
        for event in self.receive_events.iter().chain(&self.send_events) {
            let number = event.payload_type;
            if number > 127 || (64..=95).contains(&number) {
                return fail(
                    "dtmf_payload_type",
                    format!("{number}; expected 0 to 63 or 96 to 127"),
                );
            }
            if !(8000..=192_000).contains(&event.clock_rate) {
                return fail(
                    "dtmf_payload_type",
                    format!("a clock of {} Hz; expected 8000 to 192000", event.clock_rate),
                );
            }
        }
        if let Some(event) =
            self.send_events.iter().find(|event| event.payload_type == self.send_codec.payload_type)
        {
            return fail(
                "dtmf_payload_type",
                format!("{} is the type of the codec that is sent", event.payload_type),
            );
        }
        if !(8000..=192_000).contains(&self.sample_rate)
            || !whole_frame(self.ptime, self.sample_rate)
        {
            return fail(
                "sample_rate",
                format!("{} Hz; expected 8000 to 192000 with whole frames", self.sample_rate),
            );
        }
        if !(1..=2).contains(&self.channels) {
            return fail("channels", format!("{}; expected 1 or 2", self.channels));
        }
        if self.jitter_delay > Duration::from_millis(500) {
            return fail(
                "jitter_delay",
                format!("{:?}; expected at most 500 ms", self.jitter_delay),
            );
        }
        if !(2..=50).contains(&self.probation) {
            return fail("probation", format!("{}; expected 2 to 50 packets", self.probation));
        }
        for (field, rate) in
            [("source_rate", self.source_rate), ("session_rate", self.session_rate)]
        {
            if rate == 0 {
                return fail(field, "0; expected at least 1 packet a second".into());
            }
        }
        if let Some(Err(error)) = self.srtp.as_ref().map(SrtpConfig::check) {
            return fail("srtp", error.0);
        }
        if self.rtcp_interval.is_zero() {
            return fail("rtcp_interval", "0; expected more than 0".into());
        }
        Ok(())
    }

    /// Whom to hear, for the guard.
    pub(super) fn source(&self) -> SourceConfig {
        SourceConfig {
            policy: self.policy,
            signalled: self.remote,
            expected_ssrc: self.remote_ssrc,
            symmetric: self.symmetric,
            learn_window: self.learn_window,
            probation: self.probation,
            source_rate: self.source_rate,
            session_rate: self.session_rate,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for ConfigError {}

fn whole_frame(ptime: Duration, rate: u32) -> bool {
    (ptime.as_millis() * u128::from(rate)) % 1000 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut SessionConfig)) -> &'static str {
        let mut config = SessionConfig::pcmu(None);
        config.check().expect("the usual call is right");
        change(&mut config);
        config.check().expect_err("to be refused").field
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        assert_eq!(refused(|c| c.ptime = Duration::from_millis(25)), "ptime");
        assert_eq!(refused(|c| c.ptime = Duration::from_micros(20_500)), "ptime");
        assert_eq!(refused(|c| c.receive_codecs.clear()), "receive_codecs");
        assert_eq!(refused(|c| c.send_codec.clock_rate = 0), "codecs");
        assert_eq!(refused(|c| c.send_codec.payload_type = 72), "codecs");
        assert_eq!(refused(|c| c.receive_codecs.push(CodecSpec::PCMU)), "payload types");
        let event = |payload_type, clock_rate| EventType { payload_type, clock_rate };
        assert_eq!(refused(|c| c.receive_events.push(event(8, 8000))), "payload types");
        assert_eq!(refused(|c| c.receive_events.push(event(200, 8000))), "dtmf_payload_type");
        assert_eq!(refused(|c| c.send_events.push(event(72, 8000))), "dtmf_payload_type");
        assert_eq!(refused(|c| c.send_events.push(event(0, 8000))), "dtmf_payload_type");
        assert_eq!(refused(|c| c.send_events.push(event(102, 0))), "dtmf_payload_type");
        let noise = |payload_type, clock_rate| NoiseType { payload_type, clock_rate };
        assert_eq!(refused(|c| c.receive_noise.push(noise(72, 16_000))), "comfort_noise");
        assert_eq!(refused(|c| c.receive_noise.push(noise(98, 0))), "comfort_noise");
        assert_eq!(refused(|c| c.receive_noise.push(noise(101, 16_000))), "payload types");
        assert_eq!(refused(|c| c.send_noise.push(noise(72, 16_000))), "comfort_noise");
        assert_eq!(refused(|c| c.send_noise.push(noise(101, 16_000))), "comfort_noise");
        assert_eq!(refused(|c| c.send_noise.push(noise(0, 16_000))), "comfort_noise");
        assert_eq!(refused(|c| c.noise_level = 128), "noise_level");
        assert_eq!(refused(|c| c.keepalive = Some(Duration::ZERO)), "keepalive");
        assert_eq!(refused(|c| c.sample_rate = 0), "sample_rate");
        assert_eq!(refused(|c| c.sample_rate = 11_025), "sample_rate");
        assert_eq!(refused(|c| c.channels = 3), "channels");
        assert_eq!(refused(|c| c.jitter_delay = Duration::from_millis(501)), "jitter_delay");
        assert_eq!(refused(|c| c.probation = 1), "probation");
        assert_eq!(refused(|c| c.source_rate = 0), "source_rate");
        assert_eq!(refused(|c| c.session_rate = 0), "session_rate");
        assert_eq!(refused(|c| c.rtcp_interval = Duration::ZERO), "rtcp_interval");
    }

    #[test]
    fn frames_at_44100_hz_are_whole_at_10_and_20_ms() {
        for ms in [10, 20, 30, 40, 50, 60] {
            let mut config = SessionConfig::pcmu(None);
            config.send_codec = CodecSpec::l16(11, 44_100, 1);
            config.ptime = Duration::from_millis(ms);
            assert!(config.check().is_ok(), "{ms}");
        }
    }
}
