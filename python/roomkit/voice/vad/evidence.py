"""What a window tells beside the model: how loud it is, and whether it is nothing but a tone."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["is_tone", "levels_dbfs"]

_Samples = npt.NDArray[np.float32]

# The share of the power that the two strongest tones have. That of a tone on a line of G.711 is
# 0.9997 and more; of beginnings of speech on a clean line, one or two in a hundred are above 0.998.
_WHOLE_SHARE: Final = 0.998
# Of the second half alone, which tells of a tone that begins within the window. Tones look broader
# in half of the time, vowels more like a tone.
_HALF_SHARE: Final = 0.9995


def levels_dbfs(windows: _Samples) -> npt.NDArray[np.float64]:
    """Of windows of samples from -1 to 1, one a row: in dB below full scale, 0 to -96."""
    power = np.einsum("ij,ij->i", windows, windows, dtype=np.float64) / windows.shape[1]
    levels: npt.NDArray[np.float64] = np.maximum(10 * np.log10(power + 1e-12), -96.0)
    return levels


def is_tone(window: _Samples) -> bool:
    """Whether a window of 8 kHz is a tone, or two at once, as those of lines, keys and fax are."""
    half = window[len(window) // 2 :]
    return _share(window) > _WHOLE_SHARE or _share(half) > _HALF_SHARE


def _share(samples: _Samples) -> float:
    """Of the power, what the two strongest tones have. A tone is five bins wide in this window."""
    spectrum = np.fft.rfft(samples * np.hanning(len(samples) + 2)[1:-1])
    power = spectrum.real**2 + spectrum.imag**2
    power[: len(samples) // 128] = 0  # what is below 60 Hz is no tone that a line carries
    total = float(power.sum())
    if total <= 0:
        return 0.0
    tones = 0.0
    for _ in range(2):
        peak = int(power.argmax())
        around = slice(max(peak - 2, 0), peak + 3)
        tones += float(power[around].sum())
        power[around] = 0
    return tones / total
