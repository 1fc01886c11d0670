//! `Session`.

use crate::buffer::with_pcm;
use crate::config::open_options;
use crate::convert::{address, millis, monotonic, open_error, parse_address, push_error};
use crate::stats::stats_dict;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use roomkit_media::dtmf::{parse_dial, Digit, Method};
use roomkit_media::session::Mark;
use roomkit_media::time::{Duration, Time};
use roomkit_net::Position;

/// How long a key may be held, in ms; what the core sends at most.
const DIGIT_MS: std::ops::RangeInclusive<i64> = 1..=60_000;

/// Playback, ms played, first and newest packet in s of `time.monotonic`, whether it is over, was cancelled, and is paused.
type PositionTuple = (u64, f64, Option<f64>, Option<f64>, bool, bool, bool);

#[derive(Debug)]
#[pyclass(frozen, module = "roomkit._native")]
pub struct Session(roomkit_net::Session);

impl Session {
    pub fn new(session: roomkit_net::Session) -> Session {
        Session(session)
    }
}

#[pymethods]
impl Session {
    #[getter]
    fn key(&self) -> u64 {
        self.0.key()
    }

    #[getter]
    fn ssrc(&self) -> u32 {
        self.0.ssrc().0
    }

    #[getter]
    fn local_addr(&self) -> (String, u16) {
        address(self.0.local_addr())
    }

    #[getter]
    fn rtcp_addr(&self) -> Option<(String, u16)> {
        self.0.rtcp_addr().map(address)
    }

    #[pyo3(signature = (data, sample_rate, channels, playback, last, live = false, marks = None))]
    #[allow(clippy::too_many_arguments)]
    fn push(
        &self,
        data: &Bound<'_, PyAny>,
        sample_rate: i64,
        channels: i64,
        playback: i64,
        last: bool,
        live: bool,
        marks: Option<Vec<(u64, u64)>>,
    ) -> PyResult<usize> {
        // What does not fit the type does not fit the bounds either: 0 is out of all of them, and is refused by name.
        let rate = u32::try_from(sample_rate).unwrap_or(0);
        let width = u8::try_from(channels).unwrap_or(0);
        let id = u64::try_from(playback).unwrap_or(0);
        let out = self.0.outbound();
        let marks: Vec<Mark> =
            marks.into_iter().flatten().map(|(at, id)| Mark { at, id }).collect();
        with_pcm(data, |bytes| {
            if live {
                out.push_live(bytes, rate, width, id)
            } else {
                out.push_marked(bytes, rate, width, id, last, &marks)
            }
        })?
        .map_err(push_error)
    }

    fn cancel(&self, upto: i64) -> bool {
        u64::try_from(upto).is_ok_and(|upto| self.0.outbound().cancel(upto))
    }

    fn cancel_one(&self, playback: i64) -> bool {
        u64::try_from(playback).is_ok_and(|playback| self.0.outbound().cancel_one(playback))
    }

    fn pause(&self, playback: i64) -> PyResult<bool> {
        let playback = u64::try_from(playback).unwrap_or(0);
        self.0.outbound().pause(playback).map_err(push_error)
    }

    fn resume(&self, playback: i64) -> bool {
        u64::try_from(playback).is_ok_and(|playback| self.0.outbound().resume(playback))
    }

    fn tell_left(&self, tells: bool) {
        self.0.outbound().tell_left(tells);
    }

    fn take_left(&self) -> Vec<(u64, u64, u64, f64, Option<f64>, bool)> {
        let runs = self.0.take_left();
        runs.into_iter()
            .map(|run| {
                let timestamp = run.timestamp.map(millis);
                (run.playback, run.from, run.samples, millis(run.clock), timestamp, run.over)
            })
            .collect()
    }

    fn send_dtmf(
        &self,
        digits: &str,
        duration_ms: i64,
        gap_ms: i64,
        inband: bool,
    ) -> PyResult<u64> {
        let duration = milliseconds("duration_ms", duration_ms)?;
        let gap = milliseconds("gap_ms", gap_ms)?;
        let method = if inband { Method::Tone } else { Method::Event };
        let signals = parse_dial(digits, duration, gap, method)
            .map_err(|error| PyValueError::new_err(format!("digits: {error}")))?;
        self.0.outbound().dial(&signals).map_err(push_error)
    }

    fn cancel_dtmf(&self) -> bool {
        self.0.outbound().cancel_dial()
    }

    fn inject_dtmf(&self, digit: &str, duration_ms: i64) -> PyResult<()> {
        let mut keys = digit.chars();
        let key = keys.next().filter(|_| keys.next().is_none()).and_then(Digit::parse);
        let key = key.ok_or_else(|| {
            // Not the value: digits are often secrets.
            PyValueError::new_err("digit: one of 0-9 * # A-D is expected")
        })?;
        let duration = milliseconds("duration_ms", duration_ms)?;
        self.0.outbound().inject_dtmf(key, duration).map_err(push_error)
    }

    fn mask_digits(&self, masked: bool) {
        self.0.outbound().mask_digits(masked);
    }

    fn set_input_muted(&self, muted: bool) {
        self.0.outbound().set_input_muted(muted);
    }

    fn retarget(&self, host: &str, port: u16) -> PyResult<()> {
        let remote = parse_address("remote", host, port)?;
        self.0.retarget(remote).map_err(open_error)
    }

    fn update(&self, config: &Bound<'_, PyDict>) -> PyResult<()> {
        self.0.update(open_options(config)?.session).map_err(open_error)
    }

    #[pyo3(signature = (playback = None))]
    fn position(&self, py: Python<'_>, playback: Option<i64>) -> PyResult<Option<PositionTuple>> {
        let position = match playback {
            Some(playback) => {
                u64::try_from(playback).ok().and_then(|playback| self.0.position(playback))
            }
            None => self.0.snapshot().position.map(|(playback, played)| {
                let unheard = Position { playback, played, ..Position::default() };
                self.0.position(playback).unwrap_or(unheard)
            }),
        };
        let Some(position) = position else { return Ok(None) };
        let second = |time: Option<Time>| time.map(|time| monotonic(py, time)).transpose();
        let paused = !position.over && self.0.outbound().is_paused(position.playback);
        let (started, at) = (second(position.started)?, second(position.at)?);
        let played = millis(position.played);
        Ok(Some((
            position.playback,
            played,
            started,
            at,
            position.over,
            position.cancelled,
            paused,
        )))
    }

    fn queued_ms(&self) -> f64 {
        millis(self.0.outbound().queued())
    }

    fn remote_addr(&self) -> Option<(String, u16)> {
        self.0.snapshot().destination.map(address)
    }

    fn local_host(&self) -> Option<String> {
        self.0.snapshot().local.map(|host| host.to_string())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats_dict(py, &self.0.snapshot())
    }

    #[pyo3(signature = (reason = ""))]
    fn begin_close(&self, reason: &str) {
        self.0.begin_close(reason);
    }

    #[getter]
    fn over(&self) -> bool {
        self.0.is_over()
    }

    #[pyo3(signature = (reason = ""))]
    fn close(&self, py: Python<'_>, reason: &str) -> PyResult<()> {
        py.detach(|| self.0.close(reason)).map_err(open_error)
    }
}

/// How long a key is held, or it is quiet behind it.
fn milliseconds(name: &str, value: i64) -> PyResult<Duration> {
    if !DIGIT_MS.contains(&value) {
        return Err(PyValueError::new_err(format!(
            "{name} {value}: {} to {} is expected",
            DIGIT_MS.start(),
            DIGIT_MS.end()
        )));
    }
    Ok(Duration::from_millis(value.unsigned_abs()))
}
