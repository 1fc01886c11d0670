//! `Engine`.

use crate::config::open_options;
use crate::convert::open_error;
use crate::inbox::Inbox;
use crate::session::Session;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use roomkit_net::{EngineOptions, MOST_THREADS};

#[derive(Debug)]
#[pyclass(frozen, module = "roomkit._native")]
pub struct Engine(roomkit_net::Engine);

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (threads = 1, *, portable = false, realtime = true))]
    fn new(threads: i64, portable: bool, realtime: bool) -> PyResult<Engine> {
        let threads = usize::try_from(threads).map_err(|_| {
            PyValueError::new_err(format!("threads {threads}: 1 to {MOST_THREADS} fit"))
        })?;
        let options = EngineOptions { threads, portable, realtime };
        roomkit_net::Engine::new(options).map(Engine).map_err(open_error)
    }

    fn open(
        &self,
        py: Python<'_>,
        inbox: &Bound<'_, Inbox>,
        config: &Bound<'_, PyDict>,
    ) -> PyResult<Session> {
        let options = open_options(config)?;
        let inbox = inbox.get();
        py.detach(|| self.0.open(inbox.inner(), options)).map(Session::new).map_err(open_error)
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.0.stop());
    }

    fn threads(&self) -> usize {
        self.0.threads()
    }

    fn sessions(&self) -> usize {
        self.0.sessions()
    }
}
