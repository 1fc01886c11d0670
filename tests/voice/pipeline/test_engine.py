"""PipelineEngine: stages in order, each on its own when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from roomkit.voice.base import AudioChunk
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline import AudioPipelineConfig, DTMFDetector, PipelineEngine
from roomkit.voice.vad import EnergyVAD
from support.sound import silence, tone


class Sink:
    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.live = b""

    def digit(self, event: DTMFEvent) -> None:
        self.events.append(("digit", event.digit))

    def speech_started(self, timestamp_ms: float | None) -> None:
        self.events.append(("start", timestamp_ms))

    def speech(self, chunk: AudioChunk) -> None:
        self.live += chunk.data

    def speech_ended(self, audio: AudioChunk, at_ms: float | None, truncated: bool) -> None:
        self.events.append(("end", at_ms, audio.data, truncated))

    def stage_failed(self, stage: str, error: Exception) -> None:
        self.events.append(("failed", stage, type(error)))


class EveryThird(DTMFDetector):
    """Finds a digit in every third frame, and raises where it is told to."""

    def __init__(self, fails: Sequence[int] = ()) -> None:
        self.count = 0
        self.fails = fails

    def process(self, frame: AudioFrame) -> Sequence[DTMFEvent]:
        self.count += 1
        if self.count in self.fails:
            raise LookupError
        return [DTMFEvent("5", 60)] if self.count % 3 == 0 else []


def run(engine: PipelineEngine, pcm: bytes, at_ms: float = 0.0) -> None:
    for offset in range(0, len(pcm), 320):
        engine.process(AudioFrame(pcm[offset : offset + 320], 8000, timestamp_ms=at_ms), at_ms)
        at_ms += 20


def test_an_utterance_has_its_pre_roll_and_streams_the_same_audio() -> None:
    sink = Sink()
    engine = PipelineEngine(AudioPipelineConfig(vad=EnergyVAD(), pre_roll_ms=200), sink)
    pcm = silence(500) + tone(500) + silence(700)
    run(engine, pcm)
    # Noticed at 560 ms, so it begins at 360, and ends with the pause at 1000 + 600.
    assert sink.events == [("start", 500), ("end", 360, pcm[2 * 8 * 360 : 2 * 8 * 1600], False)]
    assert sink.live == sink.events[1][2]


def test_an_endless_utterance_is_cut_to_its_bound_and_says_so() -> None:
    sink = Sink()
    config = AudioPipelineConfig(vad=EnergyVAD(), pre_roll_ms=0, max_utterance_ms=1000)
    run(engine := PipelineEngine(config, sink), silence(100) + tone(2000))
    engine.finish()
    kind, _, audio, truncated = sink.events[-1]
    assert (kind, len(audio), truncated) == ("end", 2 * 8 * 1000, True)


def test_the_end_of_a_call_ends_an_utterance_once() -> None:
    sink = Sink()
    engine = PipelineEngine(AudioPipelineConfig(vad=EnergyVAD()), sink)
    run(engine, silence(100) + tone(300))
    engine.finish()
    engine.finish()
    assert [event[0] for event in sink.events] == ["start", "end"]


def test_a_stage_that_raises_loses_that_frame_only(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    run(PipelineEngine(AudioPipelineConfig(dtmf=EveryThird(fails=[1, 2])), sink), silence(180))
    assert sink.events == [("failed", "dtmf", LookupError)] + [("digit", "5")] * 3


def test_a_stage_that_only_raises_is_given_up_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = Sink()
    config = AudioPipelineConfig(dtmf=EveryThird(fails=range(1000)), vad=EnergyVAD())
    run(PipelineEngine(config, sink), silence(2000) + tone(200))
    assert [event[0] for event in sink.events] == ["failed", "start"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_each_session_has_stages_of_its_own() -> None:
    config, sinks = AudioPipelineConfig(dtmf=EveryThird()), [Sink(), Sink()]
    engines = [PipelineEngine(config, sink) for sink in sinks]
    for _ in range(3):
        for engine in engines:
            run(engine, silence(20))
    assert [sink.events for sink in sinks] == [[("digit", "5")]] * 2


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [({"vad": 1}, TypeError), ({"dtmf": EnergyVAD()}, TypeError), ({"recorder": "x"}, TypeError),
     ({"pre_roll_ms": 2001}, ValueError), ({"max_utterance_ms": 999}, ValueError)],
)  # fmt: skip
def test_a_configuration_that_does_not_fit_names_the_field(
    wrong: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=next(iter(wrong))):
        AudioPipelineConfig(**wrong)
