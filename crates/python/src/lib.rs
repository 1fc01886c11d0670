//! The Python border: converts types, decides nothing.
//!
//! `python/roomkit/_native.pyi` is its contract and documentation. Nothing here runs on a media thread, and no media
//! thread touches Python.
#![warn(missing_docs)]

mod buffer;
mod config;
mod convert;
mod detector;
mod echo;
mod engine;
mod inbox;
mod keys;
mod resample;
mod session;
mod stats;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<detector::DTMFDetector>()?;
    module.add_class::<echo::EchoGuard>()?;
    module.add_class::<inbox::Inbox>()?;
    module.add_class::<resample::Resampler>()?;
    module.add_class::<session::Session>()?;
    inbox::add_kinds(module)
}
