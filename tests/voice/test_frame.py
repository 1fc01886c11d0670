"""AudioFrame, and its constructor for audio that the media core made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkit.voice.frame import AudioFrame, frame_from_media


@given(
    samples=st.integers(0, 500),
    channels=st.integers(1, 8),
    rate=st.integers(8000, 192_000),
    timestamp=st.none() | st.floats(0, 1e9),
)
def test_whatever_fits_is_accepted_and_measured_right(
    samples: int, channels: int, rate: int, timestamp: float | None
) -> None:
    frame = AudioFrame(bytes(2 * samples * channels), rate, channels, timestamp_ms=timestamp)
    assert frame.samples == samples
    assert frame.duration_ms == pytest.approx(samples / rate * 1000)
    assert (frame.sample_width, frame.metadata, frame.kind) == (2, {}, "received")


@given(length=st.integers(0, 100), channels=st.integers(1, 8))
def test_data_is_a_whole_number_of_samples_of_every_channel(length: int, channels: int) -> None:
    data = bytes(length)
    if length % (2 * channels):
        with pytest.raises(ValueError, match=f"data: {length} bytes; a multiple of {2 * channels}"):
            AudioFrame(data, 8000, channels)
    else:
        assert AudioFrame(data, 8000, channels).data == data


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate", 7999),
        ("sample_rate", 192_001),
        ("sample_rate", 8000.0),
        ("sample_rate", True),
        ("channels", 0),
        ("channels", 9),
        ("sample_width", 1),
        ("sample_width", 4),
        ("timestamp_ms", float("nan")),
        ("timestamp_ms", float("inf")),
        ("timestamp_ms", "0"),
    ],
)
def test_a_field_that_does_not_fit_is_named_with_its_value(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field}: {value!r}".replace(".", r"\.")):
        AudioFrame(b"", **{field: value})


@pytest.mark.parametrize("edge", [8000, 192_000])
def test_the_edges_of_the_rate_fit(edge: int) -> None:
    assert AudioFrame(b"", edge).sample_rate == edge


def test_data_is_bytes_whatever_buffer_came() -> None:
    assert AudioFrame(bytearray(4)).data == bytes(4)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="data: str"):
        AudioFrame("text")  # type: ignore[arg-type]


def test_a_frame_from_the_core_equals_one_that_was_checked() -> None:
    fast = frame_from_media(bytes(320), 8000, 1, 20.0, {"kind": "concealed"})
    assert fast == AudioFrame(bytes(320), 8000, 1, 2, 20.0, {"kind": "concealed"})
    assert fast.kind == "concealed"


def test_no_two_frames_share_their_metadata() -> None:
    first, second = (frame_from_media(b"", 8000, 1, 0.0) for _ in range(2))
    first.metadata["mine"] = True
    assert second.metadata == {}
