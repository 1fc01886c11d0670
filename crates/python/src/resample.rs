//! `Resampler`: another sample rate for a recording.

use crate::buffer::samples;
use crate::convert::no_memory;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use roomkit_media::resample::{self, Bank};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Samples that one call may give beyond those of its own time: less than one for each of 255 channels.
const HELD_BACK: usize = 256;

#[derive(Debug)]
#[pyclass(frozen, module = "roomkit._native")]
pub struct Resampler {
    resampler: Mutex<resample::Resampler>,
    from_hz: u32,
    to_hz: u32,
}

#[pymethods]
impl Resampler {
    #[new]
    #[pyo3(signature = (from_hz, to_hz, channels = 1))]
    fn new(py: Python<'_>, from_hz: i64, to_hz: i64, channels: i64) -> PyResult<Resampler> {
        let hz = |rate: i64| u32::try_from(rate).unwrap_or(0);
        let (from, to) = (hz(from_hz), hz(to_hz));
        let width = u8::try_from(channels).unwrap_or(0);
        // Without the GIL: the coefficients of an odd ratio take a while.
        let made = py.detach(|| {
            let bank = Bank::sharp(from, to)?;
            resample::Resampler::with_bank(Arc::new(bank), width)
        });
        let resampler = made.map_err(|_| {
            PyValueError::new_err(format!(
                "from_hz {from_hz}, to_hz {to_hz}, channels {channels}: 8000 to 192000 Hz and 1 to 255 fit"
            ))
        })?;
        let resampler = Mutex::new(resampler.in_place());
        Ok(Resampler { resampler, from_hz: from, to_hz: to })
    }

    /// Takes more; what can be told of the output now.
    fn process<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let samples = samples(data)?;
        // As many as the time has, and what the filter held back.
        let count = samples.len() as u64 * u64::from(self.to_hz) / u64::from(self.from_hz);
        let count = usize::try_from(count).unwrap_or(usize::MAX).saturating_add(HELD_BACK);
        let mut made = Vec::new();
        made.try_reserve_exact(count).map_err(|_| no_memory(count.saturating_mul(2)))?;
        py.detach(|| self.lock().process(&samples, &mut made));
        bytes(py, &made)
    }

    /// The rest: silence follows. What comes next begins afresh.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut made = Vec::new();
        self.lock().drain(&mut made);
        bytes(py, &made)
    }
}

impl Resampler {
    fn lock(&self) -> MutexGuard<'_, resample::Resampler> {
        self.resampler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes<'py>(py: Python<'py>, samples: &[i16]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, 2 * samples.len(), |bytes| {
        for (pair, sample) in bytes.chunks_exact_mut(2).zip(samples) {
            pair.copy_from_slice(&sample.to_le_bytes());
        }
        Ok(())
    })
}
