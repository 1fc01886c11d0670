//! `DTMFDetector`: the core's detector of digits in the audio, for a pipeline stage.

use crate::buffer::samples;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use roomkit_media::dtmf::InbandDetector;
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
#[pyclass(frozen, module = "roomkit._native")]
pub struct DTMFDetector {
    detector: Mutex<InbandDetector>,
    channels: u8,
}

/// Samples per channel that are looked at before the digits in them are taken: the detector keeps a few digits and no more,
/// and half a second of the lowest rate holds six.
const PIECE: usize = 4096;

#[pymethods]
impl DTMFDetector {
    #[new]
    #[pyo3(signature = (sample_rate, channels = 1))]
    fn new(sample_rate: i64, channels: i64) -> PyResult<DTMFDetector> {
        let rate = u32::try_from(sample_rate).unwrap_or(0);
        let width = u8::try_from(channels).unwrap_or(0);
        let detector = InbandDetector::new(rate, width).map_err(|_| {
            PyValueError::new_err(format!(
                "sample_rate {sample_rate}, channels {channels}: 8000 to 192000 Hz and 1 to 255 fit"
            ))
        })?;
        Ok(DTMFDetector { detector: Mutex::new(detector), channels: width })
    }

    /// Digits that are complete with `data`: key, start and duration in ms, confidence.
    fn process(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<(char, f64, f64, f64)>> {
        let samples = samples(data)?;
        // Without the GIL: an hour's recording takes seconds.
        Ok(py.detach(|| {
            let mut detector = self.detector.lock().unwrap_or_else(PoisonError::into_inner);
            let mut found = Vec::new();
            for piece in samples.chunks(PIECE * usize::from(self.channels)) {
                detector.process(piece);
                found.extend(take(&mut detector));
            }
            found
        }))
    }

    /// The audio ends: a digit that sounds is complete.
    fn finish(&self, py: Python<'_>) -> Vec<(char, f64, f64, f64)> {
        py.detach(|| {
            let mut detector = self.detector.lock().unwrap_or_else(PoisonError::into_inner);
            detector.finish();
            take(&mut detector)
        })
    }
}

fn take(detector: &mut InbandDetector) -> Vec<(char, f64, f64, f64)> {
    let ms = |span: roomkit_media::time::Duration| span.as_nanos() as f64 / 1e6;
    core::iter::from_fn(|| detector.poll())
        .map(|heard| {
            let confidence = f64::from(heard.confidence);
            (heard.digit.as_char(), ms(heard.start), ms(heard.duration), confidence)
        })
        .collect()
}
