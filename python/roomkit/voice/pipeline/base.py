"""The parts of a pipeline and their configuration."""

from __future__ import annotations

import copy
import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from roomkit._handlers import is_async
from roomkit.errors import shown
from roomkit.voice.base import VoiceSession
from roomkit.voice.events import DTMFEvent
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad.base import VADProvider
from roomkit.voice.vad.choice import resolve_vad

__all__ = [
    "AudioPipelineConfig",
    "DTMFDetector",
    "Record",
    "RecorderProvider",
    "Recording",
    "Stage",
    "StageLike",
    "makes_stage",
]


class Stage(ABC):
    """Changes the audio of one call, frame by frame.

    The one in the configuration is the pattern for one per session, as with `VADProvider`.
    """

    @property
    def name(self) -> str:
        """What it is called in logs, errors and statistics."""
        return type(self).__name__

    @abstractmethod
    def process(self, frame: AudioFrame) -> AudioFrame | None:
        """Takes the next frame and gives what goes on: that frame, changed or not, another one, or
        None for nothing.

        What it gives back has the rate, the channels and the number of samples of what it took: a
        stage that needs another rate, or that lags, does so within itself. Place in time and kind
        of the frame are kept by the engine. After None the frame is silence of its length: the
        stages that follow are not asked, detectors, recorder, recogniser and program get the
        silence. Called on the event loop, once per frame and session: it must not block.
        """

    def reset(self) -> None:  # noqa: B027 (many have no state)
        """Makes the state of a call anew: the next frame is the first of another."""

    def new_session(self) -> Stage:
        """A stage with the same settings for another call: a shallow copy of this one, reset. It
        shares what this one refers to, such as a model; `reset` must therefore make its state
        anew, not empty what it finds."""
        fresh = copy.copy(self)
        fresh.reset()
        return fresh


class DTMFDetector(ABC):
    """Finds digits in the audio, for lines that do not signal them beside it.

    As with `VADProvider`, the one in the configuration is the pattern for one per session.
    """

    @abstractmethod
    def process(self, frame: AudioFrame) -> Sequence[DTMFEvent]:
        """Takes the next frame; the digits that are complete with it, in order."""

    def reset(self) -> None:  # noqa: B027 (see Stage)
        """Makes the state of a call anew."""

    def new_session(self) -> Self:
        """A detector with the same settings for another call: a shallow copy of this one, reset."""
        fresh = copy.copy(self)
        fresh.reset()
        return fresh


class Record:
    """Among the stages, the place where the recorder takes the caller's audio: as the stages before
    it have left it. Without one it takes what came in, untouched."""


StageLike = (
    Stage
    | DTMFDetector
    | Record
    | Callable[[AudioFrame], AudioFrame | None]
    | Callable[[], Stage | DTMFDetector]
)
"""What fits in `AudioPipelineConfig.stages`: a stage or a detector of digits as the pattern for one
per session, something that makes one per session without being given anything (a class, a `partial`
of one, a function without parameters), a plain function from frame to frame that all calls share,
or `Record()`."""


class Recording(ABC):
    """The recording of one call.

    `at_ms` is where the first sample of the frame belongs: ms of the media clock since the session
    opened, one clock for both sides, so that they cannot drift apart. It is the frame's `clock_ms`
    where it has one.
    """

    @abstractmethod
    def inbound(self, frame: AudioFrame, at_ms: float) -> None:
        """The caller's audio. Must not block."""

    @abstractmethod
    def played(self, frame: AudioFrame, at_ms: float) -> None:
        """Audio that left for the caller. Must not block."""

    @abstractmethod
    def pause(self) -> None:
        """Records silence of its length, of both sides, until `resume`: for card data."""

    @abstractmethod
    def resume(self) -> None:
        """Records what is heard and played from now on."""

    async def ready(self) -> None:  # noqa: B027 (most are ready once they are open)
        """Returns once it is certain that it can be written; raises why it cannot."""

    def on_error(self, tell: Callable[[Exception], None]) -> None:  # noqa: B027 (see `ready`)
        """`tell` is to be called on the event loop when something of the recording is lost."""

    @abstractmethod
    async def close(self) -> Sequence[Path]:
        """Completes it; the files written. Idempotent. Whoever calls it does not wait for ever."""


class RecorderProvider(ABC):
    """Makes a recording for every call."""

    required: bool = False
    """A call that cannot be recorded is not to be: `open` or `ready` that fail make `join` fail."""

    @abstractmethod
    def open(self, session: VoiceSession) -> Recording:
        """The recording of a call that begins now. Must not block: what takes time is done beside
        the call, and `Recording.ready` waits for it."""


@dataclass(frozen=True, slots=True)
class AudioPipelineConfig:
    """What a `VoiceChannel` does with audio. Every part is optional.

    Order: recorder (what came in, untouched, unless `Record()` stands among the stages), dtmf, the
    stages in theirs, then recogniser and program; vad hears the same, without what comes back of
    our own voice (`echo_guard`). Raises `ValueError` for times out of range, `TypeError` for a part
    of another kind.
    """

    vad: VADProvider | Callable[[], VADProvider] | str | None = None
    """Finds speech: without it there are no speech hooks and no transcripts. A detector, something
    that makes one per session, or `"auto"` (the best that is installed), `"silero"` or `"energy"`;
    the configuration makes a detector of each (`resolve_vad`)."""
    dtmf: DTMFDetector | Callable[[], DTMFDetector] | None = None
    """Finds digits in the audio. Signalled digits (RFC 4733) need none."""
    recorder: RecorderProvider | None = None
    """Records every call, both sides."""
    pre_roll_ms: float = 300.0
    """How much audio from before speech was noticed belongs to the utterance, 0 to 2000."""
    max_utterance_ms: float = 60_000.0
    """An utterance's audio is kept up to this length, 1000 to 600000."""
    stages: Sequence[StageLike] = ()
    """What changes the audio, in this order: see `Stage` and `StageLike`."""
    echo_guard: bool = True
    """The detector of speech does not take our own voice, coming back from a hybrid or a
    loudspeaker, for the caller's. Costs nothing until something is played."""

    def __post_init__(self) -> None:
        if isinstance(self.vad, type) and not issubclass(self.vad, VADProvider):
            raise TypeError(f"vad: {_kind_of(self.vad)}; a VADProvider fits")
        object.__setattr__(self, "vad", resolve_vad(self.vad))
        _check_part("dtmf", self.dtmf, DTMFDetector)
        if self.recorder is not None and not isinstance(self.recorder, RecorderProvider):
            raise TypeError(f"recorder: {_kind_of(self.recorder)}; a RecorderProvider fits")
        for name, low, high in (("pre_roll_ms", 0, 2000), ("max_utterance_ms", 1000, 600_000)):
            value: object = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not low <= value <= high:  # type: ignore[operator]
                raise ValueError(f"{name}: {shown(value)}; {low} to {high} fits")
        if not isinstance(self.echo_guard, bool):
            raise TypeError(f"echo_guard: {_kind_of(self.echo_guard)}; a bool fits")
        self._check_stages()

    def _check_stages(self) -> None:
        stages: object = self.stages
        if isinstance(stages, (str, bytes)) or not isinstance(stages, Sequence):
            raise TypeError(f"stages: {_kind_of(stages)}; a list of stages fits")
        object.__setattr__(self, "stages", tuple(stages))
        for stage in self.stages:
            if isinstance(stage, type) and not issubclass(stage, (Stage, DTMFDetector)):
                hint = " (Record())" if issubclass(stage, Record) else ""
                raise TypeError(f"stages: the class {stage.__name__}; a Stage fits{hint}")
            if not isinstance(stage, (Stage, DTMFDetector, Record)) and not callable(stage):
                raise TypeError(f"stages: {_kind_of(stage)}; a Stage or a function fits")
            if is_async(stage):
                raise TypeError(
                    "stages: a coroutine function; a Stage or a plain function fits (a stage runs"
                    " once per frame and cannot wait)"
                )
        seats = sum(isinstance(stage, Record) for stage in self.stages)
        if seats > 1:
            raise ValueError(f"stages: {seats} times Record(); the recorder takes the audio once")
        if seats and self.recorder is None:
            raise ValueError("stages: Record() without a recorder; recorder=WavRecorder(…) fits")


def makes_stage(stage: object) -> bool:
    """Whether it makes a stage for each call, rather than being one (a function of a frame)."""
    made = stage
    while isinstance(made, functools.partial):
        made = made.func
    if isinstance(made, type):
        return True
    try:
        parameters = inspect.signature(stage).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False  # a builtin that says nothing of itself
    return not any(
        each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD, each.VAR_POSITIONAL)
        for each in parameters
    )


def _check_part(name: str, part: object, kind: type) -> None:
    if part is None or isinstance(part, kind):
        return
    other_class = isinstance(part, type) and not issubclass(part, kind)
    if other_class or not callable(part):
        raise TypeError(f"{name}: {_kind_of(part)}; a {kind.__name__} fits")


def _kind_of(part: object) -> str:
    return f"the class {part.__name__}" if isinstance(part, type) else type(part).__name__
