"""`PipelineEngine`: runs one call's frames through recorder, stages and detectors."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Protocol, TypeVar

from roomkit._faults import log_fault
from roomkit.errors import shown
from roomkit.voice.base import VoiceSession
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame, frame_from_media
from roomkit.voice.pipeline.base import (
    AudioPipelineConfig,
    DTMFDetector,
    Record,
    Recording,
    Stage,
    StageLike,
    makes_stage,
)
from roomkit.voice.vad.base import VADEvent, VADProvider, VADStream

__all__ = ["PipelineEngine", "PipelineSink", "StageStats", "open_recording"]

_log = logging.getLogger("roomkit.voice.pipeline")
_T = TypeVar("_T")

# A stage that fails on every frame for one second of 20 ms frames will not recover.
_FAILURES_TO_GIVE_UP: Final = 50
# Half a frame's time, in which no call hears anything. Less may be a thread that had the
# interpreter.
_SLOW_S: Final = 0.01
# A recorder that must be there may take this long to say that it is.
_READY_S: Final = 5.0


class PipelineSink(Protocol):
    """Who is told what the pipeline finds. Called on the event loop, in the order of the audio."""

    def digit(self, event: DTMFEvent) -> None:
        """A digit was heard in the audio."""

    def frame(self, frame: AudioFrame, at_ms: float) -> None:
        """The next frame as the stages have left it: what recogniser and program get. `at_ms` is
        what `PipelineEngine.process` was told."""

    def vad(self, event: VADEvent) -> None:
        """Speech began or ended. It may be told later than the frame it is about."""

    def stage_failed(self, stage: str, error: Exception) -> None:
        """A stage raised; reported once per row of failures."""


@dataclass(slots=True)
class StageStats:
    """What one part of a call's pipeline did."""

    frames: int = 0
    """Frames it was given."""
    failed: int = 0
    """Frames on which it raised, or gave back what is no frame of the call."""
    dropped: int = 0
    """Frames for which it gave back None."""
    slow: int = 0
    """Frames that it took more than 10 ms for: all calls wait meanwhile."""
    slowest_ms: float = 0.0
    given_up: bool = False
    """It did nothing but fail, and is not asked any longer."""


async def open_recording(
    config: AudioPipelineConfig, session: VoiceSession, sink: PipelineSink
) -> Recording | None:
    """The recording of a call that begins now; None without a recorder, and where it fails: then
    `sink.stage_failed("recorder", …)` was told. What fails later is told in the same way.

    With `required` the failure is raised instead, and what was opened is closed; this then waits
    until the recording is ready (`TimeoutError` after 5 s). Otherwise it waits for nothing.
    """
    recorder = config.recorder
    if recorder is None:
        return None
    try:
        recording = recorder.open(session)
        recording.on_error(lambda error: sink.stage_failed("recorder", error))
    except Exception as error:
        if recorder.required:
            raise
        log_fault(_log, error, "the recorder could not be opened: calls go on unrecorded")
        sink.stage_failed("recorder", error)
        return None
    if recorder.required:
        try:
            async with asyncio.timeout(_READY_S):
                await recording.ready()
        except BaseException:
            closing = asyncio.ensure_future(recording.close())
            await asyncio.wait([closing], timeout=_READY_S)
            closing.cancel()
            raise
    return recording


class PipelineEngine:
    """One call's pipeline. `process` takes what was heard and `played` what was played, each in
    order; `finish` ends it all.

    These three never raise: a part that raises loses its change to that frame only, is told to the
    sink once per row of failures, and is given up after 50 in a row. Making an engine raises what
    a stage's or detector's `new_session`, `open` or factory raises, and leaves nothing open.
    """

    def __init__(
        self, config: AudioPipelineConfig, sink: PipelineSink, recording: Recording | None = None
    ) -> None:
        self._sink = sink
        self._recording = recording
        self._stats: dict[str, StageStats] = {}
        self._finished = False
        self._newest_ms = 0.0  # the end of what was heard, on the media clock
        self._offset_ms: float | None = None  # from the frames' timeline to the media clock
        # Two of them, so that one side's success does not end the row of the other's failures.
        self._records = self._guard_for("recorder") if recording is not None else None
        self._records_played = self._guard_for("recorder (played)", "recorder")
        self._line: list[_Seat] = []
        if config.dtmf is not None:
            self._line.append(self._seat_for(config.dtmf, "dtmf"))
        self._line += [self._seat_for(stage) for stage in config.stages]
        self._recorded_first = not any(isinstance(seat.does, Record) for seat in self._line)
        self._guards_echo = self._guard_for("echo_guard")
        self._wants_guard = config.echo_guard and config.vad is not None
        self._echo: Any = None
        self._detects = self._guard_for("vad")
        # Last, because it is what must be closed again.
        self._vad: VADStream | None = None
        self._vad_name: str | None = None
        if config.vad is not None:
            assert isinstance(config.vad, VADProvider), "the configuration makes one of all"
            self._vad_name = config.vad.name
            self._vad = config.vad.open(self._heard)

    @property
    def vad_name(self) -> str | None:
        """The detector's name; None without one."""
        return self._vad_name

    @property
    def stats(self) -> dict[str, StageStats]:
        """What each part did so far, by its name."""
        return {name: stats for name, stats in self._stats.items() if stats.frames}

    def process(self, frame: AudioFrame, at_ms: float) -> None:
        """Takes the next frame heard. `at_ms`: where it begins, in ms since the session began; of
        a frame with `clock_ms` the recording goes by that."""
        if self._finished:
            return
        place = at_ms if frame.clock_ms is None else frame.clock_ms
        self._newest_ms = max(self._newest_ms, place + frame.duration_ms)
        if frame.timestamp_ms is not None:
            self._offset_ms = place - frame.timestamp_ms
        if self._recorded_first:
            self._record(frame, place)
        frame = self._run_line(frame, place)
        self._tell(self._sink.frame, frame, at_ms)
        if self._vad is not None:
            guarded = frame
            if self._echo is not None:
                guarded = self._guards_echo.run(_guarded, self._echo, frame, default=frame)
            self._detects.run(self._vad.feed, guarded)

    def played(self, frame: AudioFrame, at_ms: float | None = None) -> None:
        """Takes the next frame played. `at_ms` counts where the frame has no `clock_ms`: when it
        was played, on the clock of `process`; without it, it was played beside what was heard by
        the frame's `timestamp_ms`, or last."""
        if self._finished:
            return
        place = frame.clock_ms if frame.clock_ms is not None else at_ms
        if place is None and None not in (frame.timestamp_ms, self._offset_ms):
            place = frame.timestamp_ms + self._offset_ms  # type: ignore[operator]
        if place is None:
            place = self._newest_ms
        if self._recording is not None:
            self._records_played.run(self._recording.played, frame, place)
        if self._wants_guard:
            if self._echo is None:
                self._echo = self._guards_echo.run(_new_echo_guard)
                self._wants_guard = self._echo is not None
            if self._echo is not None:
                self._guards_echo.run(self._echo.played, frame)

    def finish(self) -> None:
        """The call is over: nothing is taken and nothing told any longer. The recording is closed
        by whoever opened it. Idempotent."""
        if self._finished:
            return
        self._finished = True
        if self._vad is not None:
            self._detects.run(self._vad.close)
        self._echo = None

    # --- the line -----------------------------------------------------------------------------

    def _run_line(self, frame: AudioFrame, place: float) -> AudioFrame:
        dropped = False
        for seat in self._line:
            does = seat.does
            if isinstance(does, Record):
                self._record(frame, place)
            elif isinstance(does, DTMFDetector):
                for digit in seat.guard.run(_digits, does, frame, default=()):
                    self._tell(self._sink.digit, digit)
            elif not dropped:
                # A copy, because a stage may change what it is given and then fail, and because the
                # backend's frame is not ours alone.
                given = seat.guard.run(_staged, does, _copy(frame), frame, default=frame)
                if given is None:
                    dropped = True
                    seat.guard.stats.dropped += 1
                    given = _silence(frame)
                frame = given
        return frame

    def _record(self, frame: AudioFrame, place: float) -> None:
        if self._records is not None and self._recording is not None:
            self._records.run(self._recording.inbound, frame, place)

    def _heard(self, event: VADEvent) -> None:
        if not self._finished:
            self._tell(self._sink.vad, event)

    def _tell(self, told: Callable[..., None], *what: Any) -> None:
        try:
            told(*what)
        except Exception as error:  # noqa: BLE001 (the call's audio goes on)
            log_fault(_log, error, "what the pipeline found could not be told")

    # --- making it ----------------------------------------------------------------------------

    def _seat_for(self, part: StageLike, name: str | None = None) -> _Seat:
        does: Any = part
        if isinstance(part, (Stage, DTMFDetector)):
            does = part.new_session()
        elif not isinstance(part, Record) and (name == "dtmf" or makes_stage(part)):
            does = part()  # type: ignore[call-arg]
            fits = DTMFDetector if name == "dtmf" else (Stage, DTMFDetector)
            if not isinstance(does, fits):
                kind = "DTMFDetector" if name == "dtmf" else "Stage"
                raise TypeError(
                    f"{name or 'stages'}: {shown(part)} made a {type(does).__name__}; a {kind} fits"
                )
        else:
            name = name or getattr(part, "__name__", type(part).__name__)
        name = name or (does.name if isinstance(does, Stage) else type(does).__name__)
        return _Seat(does.process if isinstance(does, Stage) else does, self._guard_for(name))

    def _guard_for(self, name: str, told_as: str | None = None) -> _Guard:
        known, number = name, 1
        while known in self._stats:
            number += 1
            known = f"{name} {number}"
        stats = self._stats[known] = StageStats()
        return _Guard(told_as or known, stats, self._sink)


@dataclass(slots=True)
class _Seat:
    """A place in the line and who sits there."""

    does: Callable[[AudioFrame], AudioFrame | None] | DTMFDetector | Record
    guard: _Guard


class _Guard:
    """Calls one part, and keeps what it raises from the call."""

    __slots__ = ("_failures", "_name", "_sink", "stats")

    def __init__(self, name: str, stats: StageStats, sink: PipelineSink) -> None:
        self._name = name
        self._sink = sink
        self._failures = 0
        self.stats = stats

    def run(self, call: Callable[..., _T], *args: Any, default: Any = None) -> Any:
        """What `call` returns; `default` where it raises, or has been given up."""
        stats = self.stats
        if stats.given_up:
            return default
        stats.frames += 1
        # Not the framework's clock: this is about the time of the processor.
        began = perf_counter()
        try:
            result = call(*args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 (a stage may raise anything, CancelledError too)
            self._failed(error)
            return default
        finally:
            took = perf_counter() - began
            if took > _SLOW_S:
                self._was_slow(took)
        self._failures = 0
        return result

    def _failed(self, error: BaseException) -> None:
        self.stats.failed += 1
        self._failures += 1
        if self._failures == 1:
            _log.error("pipeline stage %s raised; the call goes on", self._name, exc_info=error)
            told = error if isinstance(error, Exception) else RuntimeError(repr(error))
            try:
                self._sink.stage_failed(self._name, told)
            except Exception as fault:  # noqa: BLE001 (the call's audio goes on)
                log_fault(_log, fault, "a stage's failure could not be told")
        elif self._failures == _FAILURES_TO_GIVE_UP:
            self.stats.given_up = True
            _log.error("pipeline stage %s keeps raising: left out from here on", self._name)

    def _was_slow(self, took_s: float) -> None:
        self.stats.slow += 1
        self.stats.slowest_ms = max(self.stats.slowest_ms, took_s * 1000)
        if self.stats.slow == 1:
            _log.warning(
                "pipeline stage %s took %.0f ms for one frame: all calls wait meanwhile",
                self._name,
                took_s * 1000,
            )


def _staged(
    stage: Callable[[AudioFrame], AudioFrame | None], given: AudioFrame, frame: AudioFrame
) -> AudioFrame | None:
    """What the stage makes of `given`, a copy of `frame`, if it is a frame in its place."""
    made: Any = stage(given)
    if made is None:
        return None
    if not isinstance(made, AudioFrame):
        if inspect.iscoroutine(made):
            made.close()  # or its own complaint would come later, at some other place
        raise TypeError(f"gave back a {type(made).__name__}; an AudioFrame or None fits")
    was, now = _format(frame), _format(made)
    if now != was:
        raise ValueError(
            f"gave back {now[2]} samples at {now[0]} Hz, {now[1]} channel(s);"
            f" what it took fits: {was[2]} at {was[0]} Hz, {was[1]} channel(s)"
        )
    metadata = {**frame.metadata, **made.metadata}
    if "kind" in frame.metadata:
        metadata["kind"] = frame.metadata["kind"]
    made = frame_from_media(bytes(made.data), frame.sample_rate, frame.channels, math.nan, metadata)
    return _placed(made, frame)


def _digits(detector: DTMFDetector, frame: AudioFrame) -> tuple[DTMFEvent, ...]:
    found = tuple(detector.process(frame) or ())
    for event in found:
        if not isinstance(event, DTMFEvent):
            raise TypeError(f"gave a {type(event).__name__}; DTMFEvent fits")
    return found


def _guarded(echo: Any, frame: AudioFrame) -> AudioFrame:
    """The frame without what comes back of what was played."""
    made: AudioFrame = echo.process(frame)
    return made


def _new_echo_guard() -> Any:
    # Made when something is played: a call that plays nothing needs none, nor the core.
    from roomkit.voice.pipeline.echo import EchoGuard

    return EchoGuard()


def _format(frame: AudioFrame) -> tuple[int, int, float]:
    return frame.sample_rate, frame.channels, len(frame.data) / (2 * frame.channels)


def _copy(frame: AudioFrame) -> AudioFrame:
    made = frame_from_media(
        frame.data, frame.sample_rate, frame.channels, math.nan, dict(frame.metadata)
    )
    return _placed(made, frame)


def _silence(frame: AudioFrame) -> AudioFrame:
    """Silence in the place of a frame that a stage dropped."""
    metadata = {**frame.metadata, "kind": "silence"}
    made = frame_from_media(
        bytes(len(frame.data)), frame.sample_rate, frame.channels, math.nan, metadata
    )
    return _placed(made, frame)


def _placed(made: AudioFrame, frame: AudioFrame) -> AudioFrame:
    made.timestamp_ms = frame.timestamp_ms
    made.clock_ms = frame.clock_ms
    return made
