"""A recording of a real session: the far end sends back what it hears, so that both sides hold the
same sound, and how far they are apart must not change."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from roomkit.voice.backends.rtp import RTPVoiceBackend
from roomkit.voice.base import AudioChunk, VoiceSession
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline import (
    AudioPipelineConfig,
    PipelineEngine,
    Record,
    WavRecorder,
    open_recording,
)
from roomkit.voice.vad.base import VADEvent
from support.recorded import read


@contextmanager
def far_end() -> Iterator[tuple[str, int]]:
    """Sends every RTP packet back, as a source of its own; on a thread, whatever the loop does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind(("127.0.0.1", 0))
        wire.settimeout(0.05)
        over = threading.Event()

        def answer() -> None:
            while not over.is_set():
                try:
                    packet, sender = wire.recvfrom(2048)
                except TimeoutError:
                    continue
                if not 192 <= packet[1] <= 223:  # RTCP, were it multiplexed
                    wire.sendto(packet[:8] + b"echo" + packet[12:], sender)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield wire.getsockname()
        finally:
            over.set()
            thread.join()


class Sink:
    def __init__(self) -> None:
        self.failed: list[str] = []

    def digit(self, event: DTMFEvent) -> None: ...

    def frame(self, frame: AudioFrame, at_ms: float) -> None: ...

    def vad(self, event: VADEvent) -> None: ...

    def stage_failed(self, stage: str, error: Exception) -> None:
        self.failed.append(stage)


def beep(rate: int) -> AudioChunk:
    """200 ms that begin and end at once."""
    tone = 12_000 * np.sign(np.sin(2 * np.pi * 400 * np.arange(rate // 5) / rate) + 1e-9)
    return AudioChunk(tone.astype("<i2").tobytes(), rate)


def onsets(side: np.ndarray) -> list[int]:
    """Where it becomes loud after 100 ms of quiet, in samples."""
    loud = np.flatnonzero(np.abs(side.astype(int)) > 6000)
    return [
        int(at) for at, gap in zip(loud, np.diff(loud, prepend=-1000), strict=True) if gap > 800
    ]


async def test_both_sides_stay_in_step_over_pauses_and_stalls_of_the_program(
    tmp_path: Path,
) -> None:
    with far_end() as address:
        backend = RTPVoiceBackend(local_addr=("127.0.0.1", 0), remote_addr=address)
        engines: list[PipelineEngine] = []

        def heard(session: VoiceSession, frame: AudioFrame) -> None:
            for engine in engines:
                engine.process(frame, 0.0)

        def played(session: VoiceSession, frame: AudioFrame) -> None:
            for engine in engines:
                engine.played(frame)

        backend.on_audio_received(heard)
        backend.on_audio_played(played)
        session = await backend.connect("room", "ann", "phone")
        config = AudioPipelineConfig(recorder=WavRecorder(tmp_path), stages=[Record()])
        sink = Sink()
        recording = await open_recording(config, session, sink)
        engines.append(PipelineEngine(config, sink, recording))
        assert recording is not None
        silence = AudioChunk(bytes(2 * 4000), 8000)
        # The first packets of a source that nobody knows yet are not all heard.
        await backend.start_playback(session, silence).wait()
        stalled = threading.Event()
        for stall_s, rate in ((0.0, 8000), (0.2, 22_050), (0.6, 8000), (0.2, 16_000)):
            # The event loop itself stands still: what is heard meanwhile comes in a burst.
            stalled.wait(stall_s)
            playback = backend.start_playback(session, beep(rate))
            stalled.wait(stall_s / 2)
            await playback.wait()
        await backend.start_playback(session, silence).wait()
        engines[0].finish()
        (path,) = await recording.close()
        await backend.disconnect(session)
        await backend.close()
    assert sink.failed == []
    left, right = read(path).T
    said, back = onsets(right), onsets(left)
    assert len(said) == len(back) == 4
    behind_ms = [(heard - played) / 8 for heard, played in zip(back, said, strict=True)]
    assert max(behind_ms) - min(behind_ms) <= 20, behind_ms
    assert 20 <= min(behind_ms) <= max(behind_ms) <= 250, "the far end and our buffer"
