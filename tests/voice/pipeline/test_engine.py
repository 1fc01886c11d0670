"""PipelineEngine: its parts in order, each on its own when it fails, and the timeline kept."""

from __future__ import annotations

import asyncio
import functools
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roomkit.voice.base import VoiceSession
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline import (
    AudioPipelineConfig,
    DTMFDetector,
    Gain,
    PipelineEngine,
    Record,
    RecorderProvider,
    Recording,
    Stage,
)
from roomkit.voice.vad import EnergyVAD
from roomkit.voice.vad.base import VADEvent, VADEventType, VADProvider, VADStream
from support.sound import silence, tone


class Sink:
    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.frames: list[AudioFrame] = []
        self.places: list[float] = []

    def digit(self, event: DTMFEvent) -> None:
        self.events.append(("digit", event.digit))

    def frame(self, frame: AudioFrame, at_ms: float) -> None:
        self.frames.append(frame)
        self.places.append(at_ms)

    def vad(self, event: VADEvent) -> None:
        self.events.append((str(event.type), event.timestamp_ms))

    def stage_failed(self, stage: str, error: Exception) -> None:
        self.events.append(("failed", stage, type(error)))

    @property
    def audio(self) -> bytes:
        return b"".join(frame.data for frame in self.frames)


class EveryThird(DTMFDetector):
    """Finds a digit in every third frame, and raises where it is told to."""

    def __init__(self, fails: Sequence[int] = ()) -> None:
        self.count = 0
        self.fails = fails

    def reset(self) -> None:
        self.count = 0

    def process(self, frame: AudioFrame) -> Sequence[DTMFEvent]:
        self.count += 1
        if self.count in self.fails:
            raise LookupError
        return [DTMFEvent("5", 60)] if self.count % 3 == 0 else []


class Detector(VADProvider):
    """Keeps what it is fed, and tells a start when it is asked to."""

    def __init__(self) -> None:
        self.fed: list[AudioFrame] = []
        self.closed = 0
        self.tell: Callable[[VADEvent], None] | None = None

    def process(self, frame: AudioFrame) -> VADEvent | None:
        raise NotImplementedError

    def reset(self) -> None:
        raise NotImplementedError

    def open(self, tell: Callable[[VADEvent], None]) -> VADStream:
        detector = self
        self.tell = tell

        class Stream(VADStream):
            def feed(self, frame: AudioFrame) -> None:
                detector.fed.append(frame)

            def close(self) -> None:
                detector.closed += 1

        return Stream()


class Tape(Recording, RecorderProvider):
    def __init__(self) -> None:
        self.heard: list[tuple[bytes, float]] = []
        self.said: list[tuple[bytes, float]] = []

    def open(self, session: VoiceSession) -> Recording:
        return self

    def inbound(self, frame: AudioFrame, at_ms: float) -> None:
        self.heard.append((frame.data, at_ms))

    def played(self, frame: AudioFrame, at_ms: float) -> None:
        self.said.append((frame.data, at_ms))

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    async def close(self) -> Sequence[Path]:
        return []


def frame(value: int = 1, **more: Any) -> AudioFrame:
    return AudioFrame(value.to_bytes(2, "little", signed=True) * 160, 8000, **more)


def run(engine: PipelineEngine, pcm: bytes, at_ms: float = 0.0) -> None:
    for offset in range(0, len(pcm), 320):
        engine.process(AudioFrame(pcm[offset : offset + 320], 8000, timestamp_ms=at_ms), at_ms)
        at_ms += 20


def fails(given: AudioFrame) -> AudioFrame:
    raise LookupError


# --- what comes out -------------------------------------------------------------------------------


def test_what_is_heard_is_told_frame_by_frame_with_the_beginnings_and_ends_of_speech() -> None:
    sink = Sink()
    pcm = silence(500) + tone(500) + silence(700)
    run(PipelineEngine(AudioPipelineConfig(vad=EnergyVAD()), sink), pcm)
    assert sink.audio == pcm
    assert sink.places == [20.0 * n for n in range(85)]
    assert sink.events == [("speech_start", 500), ("speech_end", 1000)]


def test_a_frame_is_told_before_what_a_detector_found_in_it() -> None:
    order: list[str] = []
    sink = Sink()
    sink.frame = lambda frame, at_ms: order.append("frame")  # type: ignore[method-assign]
    sink.vad = lambda event: order.append("vad")  # type: ignore[method-assign]
    pcm = silence(20) + tone(40)
    run(PipelineEngine(AudioPipelineConfig(vad=EnergyVAD(start_ms=0)), sink), pcm)
    assert order == ["frame", "frame", "vad", "frame"]


def test_a_detector_may_tell_later_but_not_after_the_end() -> None:
    detector, sink = Detector(), Sink()
    engine = PipelineEngine(AudioPipelineConfig(vad=detector), sink)
    engine.process(frame(), 0)
    assert detector.tell is not None
    detector.tell(VADEvent(VADEventType.SPEECH_START, 0))
    engine.finish()
    engine.finish()
    detector.tell(VADEvent(VADEventType.SPEECH_END, 20))
    engine.process(frame(), 20)
    engine.played(frame())
    assert sink.events == [("speech_start", 0)]
    assert (len(detector.fed), detector.closed, len(sink.frames)) == (1, 1, 1)


def test_stages_change_the_audio_in_their_order_and_the_backends_frame_stays() -> None:
    sink = Sink()

    def doubled(given: AudioFrame) -> AudioFrame:
        given.data = bytes(byte * 2 for byte in given.data)  # in place, as people do
        given.metadata["doubled"] = True
        return given

    config = AudioPipelineConfig(stages=[doubled, lambda given: replace(given, data=given.data)])
    came = frame(3, timestamp_ms=40.0, clock_ms=1040.0, metadata={"kind": "concealed"})
    PipelineEngine(config, sink).process(came, 40)
    (told,) = sink.frames
    assert told == frame(
        6, timestamp_ms=40.0, clock_ms=1040.0, metadata={"kind": "concealed", "doubled": True}
    )
    assert came == frame(3, timestamp_ms=40.0, clock_ms=1040.0, metadata={"kind": "concealed"})


def test_a_stage_that_makes_a_frame_anew_does_not_lose_its_place() -> None:
    sink = Sink()
    config = AudioPipelineConfig(stages=[lambda given: AudioFrame(given.data, 8000)])
    came = frame(3, timestamp_ms=40.0, clock_ms=1040.0, metadata={"kind": "comfort_noise"})
    PipelineEngine(config, sink).process(came, 40)
    assert sink.frames == [came]


def test_a_dropped_frame_is_silence_of_its_length_to_all_who_count_on_time() -> None:
    detector, sink, tape, keys = Detector(), Sink(), Tape(), EveryThird()
    asked: list[AudioFrame] = []

    def drop_second(given: AudioFrame) -> AudioFrame | None:
        return None if given.timestamp_ms == 20 else given

    def count(given: AudioFrame) -> AudioFrame:
        asked.append(given)
        return given

    config = AudioPipelineConfig(
        stages=[drop_second, count, keys, Record()], vad=detector, recorder=tape
    )
    engine = PipelineEngine(config, sink, tape)
    for n in range(3):
        engine.process(frame(7, timestamp_ms=20.0 * n), 20.0 * n)
    heard = [frame(7).data, bytes(320), frame(7).data]
    assert [each.data for each in sink.frames] == heard
    assert [each.kind for each in sink.frames] == ["received", "silence", "received"]
    assert [each.data for each in detector.fed] == heard
    assert tape.heard == list(zip(heard, [0, 20, 40], strict=True))
    assert sink.events == [("digit", "5")]  # the silence was counted
    assert [each.timestamp_ms for each in asked] == [0, 40]
    assert engine.stats["drop_second"].dropped == 1


# --- who makes a stage ----------------------------------------------------------------------------


class Counting(Stage):
    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.seen = [start]
        self.lock = asyncio.Lock  # something that is shared

    def reset(self) -> None:
        self.seen = [self.start]

    def process(self, frame: AudioFrame) -> AudioFrame:
        self.seen.append(1)
        return replace(frame, metadata={"seen": sum(self.seen)})

    def __deepcopy__(self, memo: object) -> Counting:
        raise AssertionError("a stage is never deep-copied")


@pytest.mark.parametrize(
    "stage",
    [Counting(), Counting, functools.partial(Counting, 0), lambda: Counting()],
    ids=["pattern", "class", "partial", "function"],
)
def test_each_call_has_stages_of_its_own(stage: Any) -> None:
    config, sinks = AudioPipelineConfig(stages=[stage]), [Sink(), Sink()]
    engines = [PipelineEngine(config, sink) for sink in sinks]
    for _ in range(3):
        for engine in engines:
            engine.process(frame(), 0)
    counted = [[each.metadata["seen"] for each in sink.frames] for sink in sinks]
    assert counted == [[1, 2, 3], [1, 2, 3]]
    assert list(engines[0].stats) == ["Counting"]


def test_detectors_too() -> None:
    config = AudioPipelineConfig(dtmf=EveryThird(), stages=[EveryThird])
    sinks = [Sink(), Sink()]
    engines = [PipelineEngine(config, sink) for sink in sinks]
    for _ in range(3):
        for engine in engines:
            run(engine, silence(20))
    assert [sink.events for sink in sinks] == [[("digit", "5")] * 2] * 2


def test_a_detector_of_speech_may_come_from_a_factory_or_by_name() -> None:
    made: list[Detector] = []

    def make() -> Detector:
        made.append(Detector())
        return made[-1]

    config = AudioPipelineConfig(vad=make)
    for _ in range(2):
        PipelineEngine(config, Sink()).process(frame(), 0)
    assert [len(detector.fed) for detector in made] == [1, 1]
    assert isinstance(AudioPipelineConfig(vad="energy").vad, EnergyVAD)
    assert isinstance(AudioPipelineConfig(vad="auto").vad, VADProvider)
    with pytest.raises(ValueError, match="vad"):
        AudioPipelineConfig(vad="ears")


@pytest.mark.parametrize(
    "config",
    [{"stages": [lambda: 3]}, {"dtmf": lambda: Gain(1)}, {"vad": lambda: Gain(1)},
     {"stages": [lambda: raises()]}],
)  # fmt: skip
def test_what_cannot_be_made_raises_where_the_call_begins(config: dict[str, Any]) -> None:
    with pytest.raises((TypeError, LookupError)):
        PipelineEngine(AudioPipelineConfig(**config), Sink())


# --- what goes wrong ------------------------------------------------------------------------------


def raises(*args: object) -> None:
    raise LookupError


def put(given: AudioFrame, data: Any) -> AudioFrame:
    given.data = data
    return given


async def coroutine(given: AudioFrame) -> AudioFrame:
    return given


def changed_and_raised(given: AudioFrame) -> AudioFrame:
    given.data = bytes(320)
    given.metadata["x"] = 1
    raise LookupError


def cancels(given: AudioFrame) -> AudioFrame:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        (fails, LookupError),
        (changed_and_raised, LookupError),
        (cancels, RuntimeError),
        (lambda given: given.data, TypeError),
        (lambda given: True, TypeError),
        (lambda given: coroutine(given), TypeError),
        (lambda given: replace(given, data=given.data[2:]), ValueError),
        (lambda given: replace(given, data=given.data + b"\0\0"), ValueError),
        (lambda given: replace(given, data=b""), ValueError),
        (lambda given: replace(given, sample_rate=16000), ValueError),
        (lambda given: replace(given, data=given.data * 2, channels=2), ValueError),
        (lambda given: put(given, given.data[:-1]), ValueError),
        (lambda given: put(given, None), TypeError),
    ],
)
def test_a_stage_that_fails_loses_its_change_to_that_frame_only(stage: Any, error: type) -> None:
    sink = Sink()
    config = AudioPipelineConfig(stages=[stage, Gain(0.0)], vad=EnergyVAD(start_ms=0))
    engine = PipelineEngine(config, sink)
    run(engine, pcm := silence(100) + tone(100))
    assert sink.audio == pcm
    assert all(not each.metadata for each in sink.frames)
    name = getattr(stage, "__name__", "")
    assert sink.events == [("failed", name, error), ("speech_start", 100)]
    assert engine.stats[name].failed == 10


def test_a_row_of_failures_is_told_once_and_the_next_row_again() -> None:
    sink = Sink()
    run(PipelineEngine(AudioPipelineConfig(dtmf=EveryThird(fails=[1, 2, 5])), sink), silence(180))
    failed = ("failed", "dtmf", LookupError)
    assert sink.events == [failed, ("digit", "5"), failed, ("digit", "5"), ("digit", "5")]


def test_a_stage_that_only_raises_is_given_up_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink, asked = Sink(), []

    def counted(given: AudioFrame) -> AudioFrame:
        asked.append(given)
        raise LookupError

    config = AudioPipelineConfig(stages=[counted], vad=EnergyVAD())
    engine = PipelineEngine(config, sink)
    run(engine, silence(2000) + tone(200))
    assert [event[0] for event in sink.events] == ["failed", "speech_start"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert len(asked) == 50
    assert engine.stats["counted"].given_up


def test_every_part_that_fails_is_named_and_none_harms_another() -> None:
    class Broken(Detector, Tape):
        def open(self, told: Any) -> Any:
            return self

        def feed(self, frame: AudioFrame) -> None:
            raise LookupError

        def inbound(self, frame: AudioFrame, at_ms: float) -> None:
            raise KeyError

        def played(self, frame: AudioFrame, at_ms: float) -> None:
            raise IndexError

        def close(self) -> Any:
            raise OSError

    broken, sink = Broken(), Sink()
    config = AudioPipelineConfig(vad=broken, stages=[fails], recorder=broken)
    engine = PipelineEngine(config, sink, broken)
    for n in range(3):
        engine.process(frame(), 20 * n)
        engine.played(frame())
    engine.finish()
    assert sink.events == [
        ("failed", "recorder", KeyError),
        ("failed", "fails", LookupError),
        ("failed", "vad", LookupError),
        ("failed", "recorder", IndexError),
    ]
    assert sink.audio == frame().data * 3


def test_a_sink_that_raises_does_not_stop_the_audio() -> None:
    sink, detector = Sink(), Detector()
    sink.frame = sink.stage_failed = raises  # type: ignore[method-assign,assignment]
    run(PipelineEngine(AudioPipelineConfig(vad=detector, stages=[fails]), sink), silence(100))
    assert len(detector.fed) == 5


def test_a_slow_stage_is_counted_and_complained_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("roomkit.voice.pipeline.engine.perf_counter", lambda: now[0])

    def slow(given: AudioFrame) -> AudioFrame:
        now[0] += 0.009 if given.timestamp_ms == 0 else 0.011 + 0.001 * (given.timestamp_ms == 40)
        return given

    engine = PipelineEngine(AudioPipelineConfig(stages=[slow, slow]), Sink())
    run(engine, silence(100))
    stats = engine.stats
    assert list(stats) == ["slow", "slow 2"]
    assert [(each.frames, each.slow) for each in stats.values()] == [(5, 4)] * 2
    assert stats["slow"].slowest_ms == pytest.approx(12)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


# --- the recorder's places ------------------------------------------------------------------------


def test_the_recorder_takes_what_came_in_unless_it_has_a_seat() -> None:
    heard = []
    lines: list[list[Any]] = [[Gain(6.0)], [Gain(6.0), Record()], [Record(), Gain(6.0)]]
    for stages in lines:
        tape = Tape()
        engine = PipelineEngine(AudioPipelineConfig(stages=stages, recorder=tape), Sink(), tape)
        engine.process(frame(1000), 0)
        heard.append(int.from_bytes(tape.heard[0][0][-2:], "little"))
    assert heard == [1000, 1995, 1000]


def test_what_is_recorded_stands_where_the_media_clock_says_and_else_where_it_is_told() -> None:
    tape = Tape()
    engine = PipelineEngine(AudioPipelineConfig(recorder=tape), Sink(), tape)
    engine.process(frame(clock_ms=500.0), 7)
    engine.process(frame(timestamp_ms=100.0), 530)
    assert [at for _, at in tape.heard] == [500, 530]
    engine.played(frame(clock_ms=520.0), 1)
    engine.played(frame(timestamp_ms=160.0), 600)
    engine.played(frame(timestamp_ms=160.0))  # on the timeline of what was heard
    engine.played(frame())  # no word about its time: now
    assert [at for _, at in tape.said] == [520, 600, 590, 550]


# --- our own voice --------------------------------------------------------------------------------


@pytest.fixture
def guards(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []

    class EchoGuard:
        def __init__(self) -> None:
            made.append(self)
            self.said: list[AudioFrame] = []

        def played(self, frame: AudioFrame) -> None:
            self.said.append(frame)

        def process(self, frame: AudioFrame) -> AudioFrame:
            if frame.timestamp_ms == 60:
                raise LookupError
            return replace(frame, data=bytes(len(frame.data)))

    module = types.ModuleType("roomkit.voice.pipeline.echo")
    module.EchoGuard = EchoGuard  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return made


def test_from_the_first_frame_played_the_detector_alone_hears_without_our_own_voice(
    guards: list[Any],
) -> None:
    detector, sink, tape = Detector(), Sink(), Tape()
    config = AudioPipelineConfig(vad=detector, recorder=tape)
    engine = PipelineEngine(config, sink, tape)
    engine.process(frame(5, timestamp_ms=0.0), 0)
    assert guards == []
    engine.played(frame(9))
    for at in (20.0, 40.0, 60.0):
        engine.process(frame(5, timestamp_ms=at), at)
    (guard,) = guards
    assert guard.said == [frame(9)]
    # Where the guard fails, the detector hears what there is.
    assert [any(each.data) for each in detector.fed] == [True, False, False, True]
    assert sink.audio == frame(5).data * 4
    assert [data for data, _ in tape.heard] == [frame(5).data] * 4
    assert sink.events == [("failed", "echo_guard", LookupError)]


@pytest.mark.parametrize("config", [{"echo_guard": False, "vad": Detector()}, {"vad": None}])
def test_who_wants_no_guard_has_none(guards: list[Any], config: dict[str, Any]) -> None:
    engine = PipelineEngine(AudioPipelineConfig(**config), Sink())
    engine.played(frame())
    assert guards == []


# --- the configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"vad": 1}, TypeError),
        ({"vad": Gain}, TypeError),
        ({"dtmf": EnergyVAD()}, TypeError),
        ({"recorder": "x"}, TypeError),
        ({"recorder": lambda: Tape()}, TypeError),
        ({"pre_roll_ms": 2001}, ValueError),
        ({"max_utterance_ms": 999}, ValueError),
        ({"stages": Gain(1)}, TypeError),
        ({"stages": "gain"}, TypeError),
        ({"stages": [1]}, TypeError),
        ({"stages": [EnergyVAD]}, TypeError),
        ({"stages": [Record]}, TypeError),
        ({"stages": [coroutine]}, TypeError),
        ({"stages": [Record()]}, ValueError),
        ({"stages": [Record(), Record()], "recorder": Tape()}, ValueError),
        ({"echo_guard": 1}, TypeError),
    ],
)
def test_a_configuration_that_does_not_fit_names_the_field(
    wrong: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=next(iter(wrong))):
        AudioPipelineConfig(**wrong)
