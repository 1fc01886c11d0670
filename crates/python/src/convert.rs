//! Errors and addresses, from one side to the other.

use pyo3::exceptions::{
    PyBlockingIOError, PyMemoryError, PyOSError, PyRuntimeError, PyTimeoutError, PyValueError,
};
use pyo3::prelude::*;
use roomkit_media::time::{Duration, Time};
use roomkit_net::{OpenError, PushError, ADDRESS_IN_USE};
use std::net::{IpAddr, SocketAddr};

/// The program's fault is a `ValueError`, the system's an `OSError` with its errno.
pub fn open_error(error: OpenError) -> PyErr {
    let message = error.to_string();
    match error {
        OpenError::Config(_) | OpenError::Ambiguous { .. } => PyValueError::new_err(message),
        OpenError::Full(_) => PyBlockingIOError::new_err(message),
        OpenError::PortsExhausted { .. } => PyOSError::new_err((ADDRESS_IN_USE, message)),
        // Python writes the number before the message.
        OpenError::Socket { error, .. } => match error.raw_os_error() {
            Some(errno) => {
                let plain = message.replace(&format!(" (os error {errno})"), "");
                PyOSError::new_err((errno, plain))
            }
            None => PyOSError::new_err(message),
        },
        OpenError::Stopped | OpenError::Forked => PyRuntimeError::new_err(message),
        OpenError::Unresponsive(_) => PyTimeoutError::new_err(message),
    }
}

/// See [`PushError`].
pub fn push_error(error: PushError) -> PyErr {
    match error {
        PushError::Misuse(message) => PyValueError::new_err(message),
        PushError::Full(what) => PyBlockingIOError::new_err(what),
        PushError::Memory(bytes) => no_memory(bytes),
    }
}

/// For what the program gives the size of.
pub fn no_memory(bytes: usize) -> PyErr {
    PyMemoryError::new_err(format!("there is no memory for {bytes} bytes of audio"))
}

/// A numeric address as Python's socket module writes it; IPv6 with its zone, if it has one.
pub fn address(addr: SocketAddr) -> (String, u16) {
    let host = match addr {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        _ => addr.ip().to_string(),
    };
    (host, addr.port())
}

/// Reads a numeric address; `what` names it in the error.
pub fn parse_address(what: &str, host: &str, port: u16) -> PyResult<SocketAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    // With a zone only the whole has a parser.
    format!("[{host}]:{port}").parse().map_err(|_| {
        PyValueError::new_err(format!(
            "{what}: host {host:?} is no numeric IP address; resolve names before"
        ))
    })
}

/// A span in ms.
pub fn millis(span: Duration) -> f64 {
    span.as_nanos() as f64 / 1e6
}

/// A time of the engine's clock in seconds of Python's `time.monotonic`: on Linux they are one.
#[cfg(target_os = "linux")]
pub fn monotonic(_py: Python<'_>, time: Time) -> PyResult<f64> {
    Ok(time.as_ns() as f64 / 1e9)
}

/// A time of the engine's clock in seconds of Python's `time.monotonic`. Both run at one pace, so what is between them is looked
/// at once.
#[cfg(not(target_os = "linux"))]
pub fn monotonic(py: Python<'_>, time: Time) -> PyResult<f64> {
    use std::sync::OnceLock;
    static BETWEEN: OnceLock<f64> = OnceLock::new();
    let between = match BETWEEN.get() {
        Some(between) => *between,
        None => {
            let theirs: f64 = py.import("time")?.call_method0("monotonic")?.extract()?;
            let ours = roomkit_net::clock::now().as_ns() as f64 / 1e9;
            *BETWEEN.get_or_init(|| theirs - ours)
        }
    };
    Ok(time.as_ns() as f64 / 1e9 + between)
}
