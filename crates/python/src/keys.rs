//! The keys of SRTP in the dict that opens a session. No message here repeats what the dict holds.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use roomkit_media::srtp::{MasterKey, SrtpConfig, Suite};

/// Reads `{"send": key, "receive": [key, …]}`; the core checks whether the keys fit together.
pub fn srtp(value: &Bound<'_, PyAny>) -> PyResult<SrtpConfig> {
    let expected = "srtp: a dict of \"send\" and \"receive\" is expected";
    let wrong = || PyValueError::new_err(expected);
    let dict = value.cast::<PyDict>().map_err(|_| wrong())?;
    let send = master_key(&dict.get_item("send")?.ok_or_else(wrong)?)?;
    let receive = dict.get_item("receive")?.ok_or_else(wrong)?;
    let receive = receive.cast::<PyList>().map_err(|_| wrong())?;
    Ok(SrtpConfig {
        send,
        receive: receive.iter().map(|key| master_key(&key)).collect::<PyResult<_>>()?,
    })
}

fn master_key(value: &Bound<'_, PyAny>) -> PyResult<MasterKey> {
    let expected = "srtp: a key is a dict of suite, key, mki and lifetime";
    let wrong = || PyValueError::new_err(expected);
    let dict = value.cast::<PyDict>().map_err(|_| wrong())?;
    let item = |name: &str| -> PyResult<Option<Bound<'_, PyAny>>> {
        Ok(dict.get_item(name)?.filter(|value| !value.is_none()))
    };
    let suite = item("suite")?.and_then(|name| name.extract::<String>().ok());
    let suite = suite.and_then(|name| Suite::named(&name)).ok_or_else(wrong)?;
    let key = item("key")?.ok_or_else(wrong)?;
    let key: &[u8] = key.extract().map_err(|_| wrong())?;
    let mki = item("mki")?.map(|mki| mki.extract::<Vec<u8>>()).transpose().map_err(|_| wrong())?;
    let lifetime = item("lifetime")?.map(|packets| packets.extract::<u64>());
    let lifetime = lifetime.transpose().map_err(|_| wrong())?;
    MasterKey::new(suite, key, &mki.unwrap_or_default(), lifetime)
        .map_err(|error| PyValueError::new_err(format!("srtp: {error}")))
}
