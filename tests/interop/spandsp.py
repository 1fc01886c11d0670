"""spandsp's DTMF receiver (LGPL, Debian's `libspandsp2`), as a second opinion on tones."""

from __future__ import annotations

import ctypes
import ctypes.util

from interop.peers import not_tested

__all__ = ["digits_in"]


def digits_in(pcm: bytes) -> str:
    """The digits that spandsp hears in mono PCM at 8 kHz. Without it the test is skipped."""
    name = ctypes.util.find_library("spandsp")
    if name is None:
        not_tested("tones against spandsp", "apt-get install libspandsp2")
    library = ctypes.CDLL(name)
    library.dtmf_rx_init.restype = ctypes.c_void_p
    library.dtmf_rx_init.argtypes = [ctypes.c_void_p] * 3
    library.dtmf_rx_parms.argtypes = [ctypes.c_void_p] + [ctypes.c_int] * 4
    library.dtmf_rx.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.dtmf_rx_get.restype = ctypes.c_size_t
    library.dtmf_rx_get.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.dtmf_rx_free.argtypes = [ctypes.c_void_p]
    receiver = library.dtmf_rx_init(None, None, None)
    try:
        # Its own defaults but for twist, which it takes to 8 dB one way and 4 dB the other.
        library.dtmf_rx_parms(receiver, 0, 9, 9, -42)
        found = ""
        # It keeps up to 128 digits: they are taken in time.
        for offset in range(0, len(pcm), 16_000):
            piece = pcm[offset : offset + 16_000]
            library.dtmf_rx(receiver, piece, len(piece) // 2)
            digits = ctypes.create_string_buffer(129)
            library.dtmf_rx_get(receiver, digits, 128)
            found += digits.value.decode()
        return found
    finally:
        library.dtmf_rx_free(receiver)
