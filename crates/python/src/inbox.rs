//! `Inbox`: items of all sessions of an event loop, as tuples.

use crate::convert::{address, millis, monotonic, open_error};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyString, PyTuple};
use pyo3::IntoPyObject;
use roomkit_media::session::{unheard_reasons, FrameKind};
use roomkit_media::time::{Duration, Time};
use roomkit_net::{Item, OpenError};

/// The kinds of items, as the module's constants and in the tuples.
const KINDS: [(&str, u8); 18] = [
    ("FRAME", FRAME),
    ("DIGIT", DIGIT),
    ("PLAYBACK_STARTED", PLAYBACK_STARTED),
    ("PLAYBACK_ENDED", PLAYBACK_ENDED),
    ("LOW_WATER", LOW_WATER),
    ("SOURCE", SOURCE),
    ("BYE", BYE),
    ("RTP_TIMEOUT", RTP_TIMEOUT),
    ("RTP_RESUMED", RTP_RESUMED),
    ("RTCP_TIMEOUT", RTCP_TIMEOUT),
    ("FAULT", FAULT),
    ("CLOSED", CLOSED),
    ("DIALLED", DIALLED),
    ("UNHEARD", UNHEARD),
    ("HEARD_AGAIN", HEARD_AGAIN),
    ("NOTHING_LEAVES", NOTHING_LEAVES),
    ("PLAYBACK_MARK", PLAYBACK_MARK),
    ("LEFT", LEFT),
];
const FRAME: u8 = 0;
const DIGIT: u8 = 1;
const PLAYBACK_STARTED: u8 = 2;
const PLAYBACK_ENDED: u8 = 3;
const LOW_WATER: u8 = 4;
const SOURCE: u8 = 5;
const BYE: u8 = 6;
const RTP_TIMEOUT: u8 = 7;
const RTP_RESUMED: u8 = 8;
const FAULT: u8 = 9;
const CLOSED: u8 = 10;
const RTCP_TIMEOUT: u8 = 11;
const DIALLED: u8 = 12;
const UNHEARD: u8 = 13;
const HEARD_AGAIN: u8 = 14;
const NOTHING_LEAVES: u8 = 15;
const PLAYBACK_MARK: u8 = 16;
const LEFT: u8 = 17;

pub fn add_kinds(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for (name, kind) in KINDS {
        module.add(name, kind)?;
    }
    module.add("UNHEARD_REASONS", PyTuple::new(module.py(), unheard_reasons())?)
}

#[derive(Debug)]
#[pyclass(frozen, module = "roomkit._native")]
pub struct Inbox(roomkit_net::Inbox);

impl Inbox {
    pub fn inner(&self) -> &roomkit_net::Inbox {
        &self.0
    }
}

#[pymethods]
impl Inbox {
    #[new]
    fn new() -> PyResult<Inbox> {
        roomkit_net::Inbox::new().map(Inbox).map_err(|error| {
            let what = "cannot make an inbox".to_string();
            open_error(OpenError::Socket { what, error })
        })
    }

    fn fileno(&self) -> i64 {
        self.0.fileno()
    }

    #[pyo3(signature = (limit = 4096))]
    fn drain<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyList>> {
        // Taken first and converted then: where a tuple is made, Python 3.11 may collect garbage, and a finalizer may do
        // anything, such as drain or close this inbox, which the lock within would not let it do.
        let mut items = Vec::new();
        self.0.drain(limit, |key, item| items.push((key, item)));
        let list = PyList::empty(py);
        for (key, item) in items {
            // What fails here is memory; the items after it are lost with it, and the program is told.
            list.append(tuple(py, key, item)?)?;
        }
        Ok(list)
    }

    fn close(&self) {
        self.0.close();
    }
}

fn tuple<'py>(py: Python<'py>, key: u64, item: Item) -> PyResult<Bound<'py, PyTuple>> {
    let none = || py.None().into_bound(py);
    let float = |span: Duration| PyFloat::new(py, millis(span)).into_any();
    let second = |time: Option<Time>| time.map(|time| monotonic(py, time)).transpose();
    let int = |n: u64| n.into_pyobject(py).map(Bound::into_any);
    let text = |text: &str| PyString::new(py, text).into_any();
    let mut d = none();
    let (kind, a, b, c) = match item {
        Item::Frame { pcm, timestamp, kind, clock } => {
            d = float(clock);
            (FRAME, pcm_bytes(py, &pcm).into_any(), float(timestamp), int(frame_kind(kind))?)
        }
        Item::Digit { digit, duration, confidence, masked } => {
            let key = text(digit.as_char().encode_utf8(&mut [0; 4]));
            let how = (f64::from(confidence), masked).into_pyobject(py)?.into_any();
            (DIGIT, key, int(duration.as_millis() as u64)?, how)
        }
        Item::Dialled { batch, cancelled } => {
            (DIALLED, int(batch)?, PyBool::new(py, cancelled).to_owned().into_any(), none())
        }
        Item::PlaybackStarted(playback) => (PLAYBACK_STARTED, int(playback)?, none(), none()),
        Item::PlaybackMark { playback, id, position, at } => {
            d = PyFloat::new(py, monotonic(py, at)?).into_any();
            (PLAYBACK_MARK, int(playback)?, int(id)?, float(position))
        }
        Item::Left => (LEFT, none(), none(), none()),
        Item::PlaybackEnded { playback, played, cancelled, started, at } => {
            d = (second(started)?, second(at)?).into_pyobject(py)?.into_any();
            let cancelled = PyBool::new(py, cancelled).to_owned().into_any();
            (PLAYBACK_ENDED, int(playback)?, float(played), cancelled)
        }
        Item::LowWater => (LOW_WATER, none(), none(), none()),
        Item::Source { addr, ssrc, changed } => {
            let addr = address(addr).into_pyobject(py)?.into_any();
            let changed = PyBool::new(py, changed).to_owned().into_any();
            (SOURCE, addr, int(u64::from(ssrc.0))?, changed)
        }
        Item::Bye(reason) => (BYE, text(&reason), none(), none()),
        Item::RtpTimeout => (RTP_TIMEOUT, none(), none(), none()),
        Item::RtcpTimeout => (RTCP_TIMEOUT, none(), none(), none()),
        Item::RtpResumed => (RTP_RESUMED, none(), none(), none()),
        Item::Unheard(reason) => (UNHEARD, text(reason), none(), none()),
        Item::HeardAgain => (HEARD_AGAIN, none(), none(), none()),
        Item::NothingLeaves(reason) => (NOTHING_LEAVES, text(&reason), none(), none()),
        Item::Fault(message) => (FAULT, text(&message), none(), none()),
        Item::Closed => (CLOSED, none(), none(), none()),
    };
    let key: Bound<'py, PyInt> = key.into_pyobject(py)?;
    PyTuple::new(py, [key.into_any(), int(u64::from(kind))?, a, b, c, d])
}

fn frame_kind(kind: FrameKind) -> u64 {
    match kind {
        FrameKind::Received => 0,
        FrameKind::Concealed => 1,
        FrameKind::Silence => 2,
        FrameKind::ComfortNoise => 3,
    }
}

/// The samples as little endian bytes.
fn pcm_bytes<'py>(py: Python<'py>, pcm: &[i16]) -> Bound<'py, PyBytes> {
    #[cfg(target_endian = "little")]
    {
        // SAFETY: the samples are `2 * len` initialised bytes, and bytes need no alignment.
        let bytes = unsafe { std::slice::from_raw_parts(pcm.as_ptr().cast(), size_of_val(pcm)) };
        PyBytes::new(py, bytes)
    }
    #[cfg(target_endian = "big")]
    {
        let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        PyBytes::new(py, &bytes)
    }
}
