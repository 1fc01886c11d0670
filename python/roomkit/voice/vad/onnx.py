"""The Silero model in ONNX Runtime: the one file that imports it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from roomkit.errors import shown
from roomkit.voice.vad.lines import CONTEXT, STATE, WINDOW, Infer, Samples
from roomkit.voice.vad.windows import RATE

__all__ = ["load"]


def load(path: Path) -> Infer:
    """The model of that file, for windows of 8 kHz. It may be called on any thread.

    Raises `ValueError` for a file that is no such model.
    """
    options = onnxruntime.SessionOptions()
    # All calls are one batch: threads that share the work of 1 ms cost more than they save, and
    # there are none that a fork could lose.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ValueError(f"model: {shown(str(path))} is no ONNX model: {error}") from error
    rate = np.array(RATE, np.int64)
    run = session.run

    def infer(windows: Samples, states: Samples) -> tuple[Samples, Samples]:
        probabilities, after = run(None, {"input": windows, "state": states, "sr": rate})
        return probabilities[:, 0], after

    try:
        silence = np.zeros((2, CONTEXT + WINDOW), np.float32)
        probabilities, after = infer(silence, np.zeros((2, 2, STATE), np.float32))
        fits = probabilities.shape == (2,) and after.shape == (2, 2, STATE)
    except Exception as error:
        raise ValueError(
            f"model: {shown(str(path))} has another interface than Silero's: {error}"
        ) from error
    if not fits:
        raise ValueError(
            f"model: {shown(str(path))} answers {probabilities.shape} and {after.shape};"
            f" (2,) and (2, 2, {STATE}) fit"
        )
    return infer
