//! The dict that opens a session.

use crate::convert::parse_address;
use crate::keys;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList};
use roomkit_media::codec::opus::Settings;
use roomkit_media::codec::{CodecKind, CodecSpec};
use roomkit_media::filters::Filters;
use roomkit_media::seq::{NtpTime, Ssrc};
use roomkit_media::session::{Direction, EventType, Fill, NoiseType, RtcpMode, SessionConfig};
use roomkit_media::source::Policy;
use roomkit_media::time::Duration;
use roomkit_net::OpenOptions;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Audio that may wait, in either direction. A minute is no lead any more but a leak.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Reads the dict; a `ValueError` names the key, the value and what fits.
pub fn open_options(dict: &Bound<'_, PyDict>) -> PyResult<OpenOptions> {
    let config = Config::new(dict);
    let codecs = config.codecs()?;
    let first = codecs[0];
    let ptime = config.span("ptime_ms", 1e-3, Some(20.0))?;
    let options = OpenOptions {
        local: config
            .address("local")?
            .ok_or_else(|| config.bad("local", "a tuple (host, port) is expected"))?,
        port_range: config.get("port_range", "a tuple (low, high) of ports or None is expected")?,
        port_quarantine: config.span("port_quarantine", 1.0, Some(0.0))?,
        dscp: config
            .get("dscp", "0 to 63 is expected")?
            .filter(|dscp| *dscp < 64)
            .ok_or_else(|| config.bad("dscp", "0 to 63 is expected"))?,
        shared: config.get("shared", "True or False is expected")?.unwrap_or(false),
        lead: config.wait("lead_ms", 1000.0, ptime)?,
        inbound: config.wait("inbound_ms", 2000.0, ptime)?,
        session: SessionConfig {
            send_codec: config.send_codec()?.unwrap_or(first),
            receive_codecs: codecs,
            receive_events: config.events("receive_events")?,
            send_events: config.events("send_events")?,
            receive_noise: config.noise("receive_noise")?,
            send_noise: config.noise("send_noise")?,
            fill: config.choice(
                "fill",
                &[
                    ("none", Fill::None),
                    ("silence", Fill::Silence),
                    ("comfort_noise", Fill::ComfortNoise),
                ],
            )?,
            noise_level: config.get("comfort_noise_level", "0 to 127 is expected")?.unwrap_or(70),
            keepalive: config.optional_span("keepalive", 1.0)?,
            dtmf_inband: config.get("dtmf_inband", "True or False is expected")?.unwrap_or(false),
            direction: config.choice(
                "direction",
                &[
                    ("sendrecv", Direction::SendRecv),
                    ("sendonly", Direction::SendOnly),
                    ("recvonly", Direction::RecvOnly),
                    ("inactive", Direction::Inactive),
                ],
            )?,
            ptime,
            remote: config.address("remote")?,
            remote_rtcp: config.address("remote_rtcp")?,
            rtcp: config.choice(
                "rtcp",
                &[("separate", RtcpMode::Separate), ("mux", RtcpMode::Mux), ("off", RtcpMode::Off)],
            )?,
            policy: config.choice(
                "source_policy",
                &[
                    ("host", Policy::Host),
                    ("strict", Policy::Strict),
                    ("learn", Policy::Learn),
                    ("follow", Policy::Follow),
                ],
            )?,
            remote_ssrc: config
                .get("remote_ssrc", "0 to 4294967295 or None is expected")?
                .map(Ssrc),
            symmetric: config.get("symmetric", "True, False or None is expected")?,
            learn_window: config.optional_span("learn_window", 1.0)?,
            probation: config.get("probation", "2 to 50 is expected")?.unwrap_or(5),
            source_rate: config.get("source_rate", "at least 1 is expected")?.unwrap_or(400),
            session_rate: config.get("session_rate", "at least 1 is expected")?.unwrap_or(800),
            rtcp_interval: config.span("rtcp_interval", 1.0, Some(5.0))?,
            extended_reports: config.get("rtcp_xr", "True or False is expected")?.unwrap_or(true),
            srtp: config.raw("srtp")?.map(|keys| keys::srtp(&keys)).transpose()?,
            cname: String::new(),
            wallclock: NtpTime::default(),
            jitter_delay: config.span("jitter_ms", 1e-3, Some(60.0))?,
            rtp_timeout: config.optional_span("rtp_timeout", 1.0)?,
            rtp_timeout_on_hold: config.optional_span("rtp_timeout_on_hold", 1.0)?,
            rtcp_timeout: config.optional_span("rtcp_timeout", 1.0)?,
            sample_rate: config
                .get("sample_rate", "8000 to 192000 is expected")?
                .unwrap_or(first.sample_rate),
            channels: config.get("channels", "1 or 2 is expected")?.unwrap_or(1),
            filters: Filters::default(),
        },
    };
    config.check_all_read()?;
    Ok(options)
}

struct Config<'a, 'py> {
    dict: &'a Bound<'py, PyDict>,
    /// The keys that were asked for: those there are.
    read: RefCell<BTreeSet<&'static str>>,
}

impl<'a, 'py> Config<'a, 'py> {
    fn new(dict: &'a Bound<'py, PyDict>) -> Self {
        Self { dict, read: RefCell::default() }
    }
}

impl<'py> Config<'_, 'py> {
    /// A key that nobody has asked for is a slip of the pen.
    fn check_all_read(&self) -> PyResult<()> {
        let read = self.read.borrow();
        for key in self.dict.keys() {
            if !key.extract::<String>().is_ok_and(|key| read.contains(&key[..])) {
                let keys: Vec<&str> = read.iter().copied().collect();
                return Err(PyValueError::new_err(format!(
                    "{}: unknown key; there are {}",
                    key.repr()?,
                    keys.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// The value of a key, `None` if it is missing or None.
    fn raw(&self, key: &'static str) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.read.borrow_mut().insert(key);
        Ok(self.dict.get_item(key)?.filter(|value| !value.is_none()))
    }

    fn get<T: for<'a> FromPyObject<'a, 'py>>(
        &self,
        key: &'static str,
        expected: &str,
    ) -> PyResult<Option<T>> {
        match self.raw(key)? {
            None => Ok(None),
            Some(value) => match value.extract() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(self.bad(key, expected)),
            },
        }
    }

    fn bad(&self, key: &str, expected: &str) -> PyErr {
        let value = match self.dict.get_item(key) {
            Ok(Some(value)) => value.repr().map_or_else(|_| "?".into(), |repr| repr.to_string()),
            _ => "missing".to_string(),
        };
        PyValueError::new_err(format!("{key}: {value}; {expected}"))
    }

    /// A span in `unit` seconds.
    fn span(&self, key: &'static str, unit: f64, default: Option<f64>) -> PyResult<Duration> {
        match self.optional_span(key, unit)? {
            Some(span) => Ok(span),
            None => default
                .map(|default| Duration::from_secs_f64(default * unit))
                .ok_or_else(|| self.bad(key, "a number is expected")),
        }
    }

    fn optional_span(&self, key: &'static str, unit: f64) -> PyResult<Option<Duration>> {
        let expected = "a number, at least 0, is expected";
        let Some(value) = self.raw(key)? else { return Ok(None) };
        if value.is_instance_of::<PyBool>() {
            return Err(self.bad(key, expected));
        }
        let number: f64 = value.extract().map_err(|_| self.bad(key, expected))?;
        // Rounded to whole microseconds, so that 20.0 ms is exactly 20 ms.
        let micros = (number * unit * 1e6).round();
        if !(0.0..=1e15).contains(&micros) {
            return Err(self.bad(key, expected));
        }
        Ok(Some(Duration::from_micros(micros as u64)))
    }

    /// How much audio may wait: at least one frame of `ptime`.
    fn wait(&self, key: &'static str, default: f64, ptime: Duration) -> PyResult<Duration> {
        let span = self.span(key, 1e-3, Some(default))?;
        if !(ptime..=LONGEST_WAIT).contains(&span) {
            return Err(self.bad(key, "at least ptime_ms and at most 60000 is expected"));
        }
        Ok(span)
    }

    fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> PyResult<T> {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        let expected = format!("one of {} is expected", names.join(", "));
        match self.get::<String>(key, &expected)? {
            None => Ok(choices[0].1),
            Some(value) => choices
                .iter()
                .find(|(name, _)| *name == value)
                .map(|(_, choice)| *choice)
                .ok_or_else(|| self.bad(key, &expected)),
        }
    }

    fn address(&self, key: &'static str) -> PyResult<Option<SocketAddr>> {
        let expected = "a tuple (host, port) with a port of 0 to 65535 is expected";
        match self.get::<(String, u16)>(key, expected)? {
            None => Ok(None),
            Some((host, port)) => parse_address(key, &host, port).map(Some),
        }
    }

    fn codecs(&self) -> PyResult<Vec<CodecSpec>> {
        let expected = "a list of dicts, at least one, is expected";
        let list: Bound<'_, PyList> = match self.raw("codecs")? {
            Some(value) => value.cast_into().map_err(|_| self.bad("codecs", expected))?,
            None => return Err(self.bad("codecs", expected)),
        };
        let codecs: Vec<CodecSpec> = list
            .iter()
            .map(|codec| {
                let dict = codec.cast::<PyDict>().map_err(|_| self.bad("codecs", expected))?;
                Config::new(dict).codec()
            })
            .collect::<PyResult<_>>()?;
        if codecs.is_empty() {
            return Err(self.bad("codecs", expected));
        }
        Ok(codecs)
    }

    /// What is sent, if it is not the first that is received under the same number.
    fn send_codec(&self) -> PyResult<Option<CodecSpec>> {
        let Some(value) = self.raw("send_codec")? else { return Ok(None) };
        let dict = value
            .cast::<PyDict>()
            .map_err(|_| self.bad("send_codec", "a dict or None is expected"))?;
        Config::new(dict).codec().map(Some)
    }

    /// Payload types of telephone events with their clocks.
    fn events(&self, key: &'static str) -> PyResult<Vec<EventType>> {
        let event = |(payload_type, clock_rate)| EventType { payload_type, clock_rate };
        Ok(self.clocked_types(key)?.into_iter().map(event).collect())
    }

    /// Payload types of comfort noise with their clocks.
    fn noise(&self, key: &'static str) -> PyResult<Vec<NoiseType>> {
        let noise = |(payload_type, clock_rate)| NoiseType { payload_type, clock_rate };
        Ok(self.clocked_types(key)?.into_iter().map(noise).collect())
    }

    fn clocked_types(&self, key: &'static str) -> PyResult<Vec<(u8, u32)>> {
        let expected = "a list of (payload type, clock rate) is expected";
        Ok(self.get(key, expected)?.unwrap_or_default())
    }

    /// What an Opus encoder is told; a decoder needs none of it.
    fn opus(&self) -> PyResult<Settings> {
        let usual = Settings::default();
        let flag = "True or False is expected";
        Ok(Settings {
            bitrate: self.get("bitrate", "6000 to 510000 is expected")?.unwrap_or(usual.bitrate),
            complexity: self.get("complexity", "0 to 10 is expected")?.unwrap_or(usual.complexity),
            inband_fec: self.get("inband_fec", flag)?.unwrap_or(usual.inband_fec),
            expected_loss: self
                .get("expected_loss", "0 to 100 is expected")?
                .unwrap_or(usual.expected_loss),
            dtx: self.get("dtx", flag)?.unwrap_or(usual.dtx),
            cbr: self.get("cbr", flag)?.unwrap_or(usual.cbr),
            ..usual
        })
    }

    fn codec(&self) -> PyResult<CodecSpec> {
        let kind = self.raw("kind")?.map(|kind| kind.extract::<String>());
        let kind = match kind {
            Some(Ok(kind)) if kind == "PCMU" => CodecKind::Pcmu,
            Some(Ok(kind)) if kind == "PCMA" => CodecKind::Pcma,
            Some(Ok(kind)) if kind == "G722" => CodecKind::G722,
            Some(Ok(kind)) if kind == "L16" => CodecKind::L16,
            Some(Ok(kind)) if kind == "opus" => CodecKind::Opus(self.opus()?),
            _ => {
                let known = "\"PCMU\", \"PCMA\", \"G722\", \"L16\" or \"opus\" is expected";
                return Err(self.bad("kind", known));
            }
        };
        let rate = "8000 to 192000 is expected";
        let required = |key, expected| move || self.bad(key, expected);
        let payload_type = "0 to 127 is expected";
        Ok(CodecSpec {
            kind,
            payload_type: self
                .get("payload_type", payload_type)?
                .ok_or_else(required("payload_type", payload_type))?,
            clock_rate: self.get("clock_rate", rate)?.ok_or_else(required("clock_rate", rate))?,
            sample_rate: self
                .get("sample_rate", rate)?
                .ok_or_else(required("sample_rate", rate))?,
            channels: self.get("channels", "1 or 2 is expected")?.unwrap_or(1),
        })
    }
}
