//! PCM out of anything that has the buffer protocol: bytes, bytearray, memoryview, array, numpy.

use crate::convert::no_memory;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Lends `data`'s bytes to `take`: 16 bit samples, or bytes that are such samples.
pub fn with_pcm<T>(data: &Bound<'_, PyAny>, take: impl FnOnce(&[u8]) -> T) -> PyResult<T> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(take(bytes.as_bytes()));
    }
    let buffer = PyUntypedBuffer::get(data).map_err(|_| {
        let name = data.get_type().name().map_or_else(|_| "?".to_string(), |n| n.to_string());
        PyTypeError::new_err(format!("data: {name}; a bytes-like object is expected"))
    })?;
    let format = buffer.format().to_string_lossy().into_owned();
    if !matches!(&format[..], "B" | "b" | "c" | "h" | "<h" | "=h" | "@h" | "<b" | "|b" | "|B") {
        return Err(PyValueError::new_err(format!(
            "data of format {format:?}: 16 bit signed samples in native order (\"h\") or bytes (\"B\") fit"
        )));
    }
    if !buffer.is_c_contiguous() {
        return Err(PyValueError::new_err("data: a contiguous buffer is expected"));
    }
    let len = buffer.len_bytes();
    if len == 0 {
        return Ok(take(&[]));
    }
    // SAFETY: the buffer is held until the end of this function, is contiguous and `len` bytes long. The GIL is held, so
    // no Python code changes it meanwhile; native code that writes to it without the GIL would be the program's own race.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), len) };
    Ok(take(bytes))
}

/// The samples of `data`, as many as there are whole ones.
pub fn samples(data: &Bound<'_, PyAny>) -> PyResult<Vec<i16>> {
    with_pcm(data, |bytes| {
        let mut samples = Vec::new();
        samples.try_reserve_exact(bytes.len() / 2).map_err(|_| no_memory(bytes.len()))?;
        samples.extend(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
        Ok(samples)
    })?
}
