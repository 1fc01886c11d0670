//! `EchoGuard`: the core's guard against our own voice that comes back, for a pipeline's detector of speech.

use crate::buffer::with_pcm;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use roomkit_media::echo;
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
#[pyclass(frozen, module = "roomkit._native")]
pub struct EchoGuard {
    guard: Mutex<echo::EchoGuard>,
}

#[pymethods]
impl EchoGuard {
    #[new]
    #[pyo3(signature = (sample_rate, played_rate = None))]
    fn new(sample_rate: i64, played_rate: Option<i64>) -> PyResult<EchoGuard> {
        let played_rate = played_rate.unwrap_or(sample_rate);
        let hz = |rate| u32::try_from(rate).unwrap_or(0);
        let guard = echo::EchoGuard::new(hz(sample_rate), hz(played_rate)).map_err(|_| {
            PyValueError::new_err(format!(
                "sample_rate {sample_rate}, played_rate {played_rate}: 8000 to 192000 Hz fit"
            ))
        })?;
        Ok(EchoGuard { guard: Mutex::new(guard) })
    }

    /// A frame left, its first sample at `clock_ms`.
    #[pyo3(signature = (data, clock_ms, channels = 1))]
    fn played(&self, data: &Bound<'_, PyAny>, clock_ms: f64, channels: u8) -> PyResult<()> {
        let pcm = samples(data)?;
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.played(clock_ms, channels, &pcm);
        Ok(())
    }

    /// What a detector is to hear in place of the frame, or None: the frame itself.
    #[pyo3(signature = (data, clock_ms, channels = 1))]
    fn heard<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        clock_ms: f64,
        channels: u8,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut pcm = samples(data)?;
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        if !guard.heard(clock_ms, channels, &mut pcm) {
            return Ok(None);
        }
        let bytes: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        Ok(Some(PyBytes::new(py, &bytes)))
    }
}

fn samples(data: &Bound<'_, PyAny>) -> PyResult<Vec<i16>> {
    with_pcm(data, |bytes| {
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    })
}
