"""`WavRecorder`: both sides of every call as WAV on one timeline."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import os
import re
import weakref
from collections.abc import Awaitable, Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Final, Literal

from roomkit._clock import now_ms, outside
from roomkit.errors import shown
from roomkit.voice.base import VoiceSession
from roomkit.voice.frame import AudioFrame
from roomkit.voice.pipeline.base import RecorderProvider, Recording
from roomkit.voice.pipeline.tape import Tape, TapeFormat
from roomkit.voice.pipeline.timeline import Side
from roomkit.voice.pipeline.writer import WRITER

__all__ = ["WavRecorder"]

_log = logging.getLogger("roomkit.voice.recorder")

Consent = Callable[[VoiceSession], Awaitable[bool] | bool]

# A disk is written to once a second of audio, and may lag by thirty before audio is left out.
_BLOCK_MS: Final = 1000.0
_MAX_WAITING_MS: Final = 30_000.0
# WAV sizes are 32 bit; staying below 2 GiB keeps readers content that take them for signed.
_MAX_FILE_BYTES: Final = 2**31 - 2**20
_NAME_FIELDS: Final = ("session_id", "room_id", "participant_id", "channel_id", "date", "time")


class WavRecorder(RecorderProvider):
    """Writes every call into `directory` (made if missing) as `<session id>.wav`, 16 bit PCM at the
    call's rate: the caller on the left, what was played to him on the right.

    Of a side that has several channels itself their mean is recorded.

    `channels`: `"stereo"`; `"mixed"`, one channel with both; or `"split"`, a file for each,
    `<name>-in.wav` and `<name>-out.wav`. `name`: the files' name without `.wav`, with
    `{session_id}`, `{room_id}`, `{participant_id}`, `{channel_id}`, `{date}` and `{time}` (of the
    session's `created_at`, UTC); a name that is taken gets a number, no file is ever overwritten.
    `sample_rate`: 8000 to 192000; None: that of the call. `outbound=False` records the caller
    alone. `mode`: who may read the files, 0o600 unless it says otherwise. `max_file_bytes`: a file
    that is full (2 GiB; 18 hours of 8 kHz stereo) is followed by another, `<name>-part2.wav`, which
    begins with the next sample. `session.metadata["recordings"]` names the files, from the moment
    they are there.

    The timeline begins when the session opens, on the media clock, for both sides: whatever is
    missing (pauses of an answer, lost audio, a disk that was full) is silence of its length, and
    what follows stands where it was heard. One thread writes for all calls, about once a second,
    and the header is right after every write: of a process that dies, all but the last second can
    be played.

    **It neither refuses nor delays a call.** A directory that cannot be written, a full disk: the
    call goes on, and ON_ERROR is told once per row of failures. A disk that hangs loses what is
    older than 30 s of waiting audio (`lost_ms`). `required=True` makes a recording that cannot be
    opened fail `join`.

    `consent(session)` is asked beside the call and may be a coroutine function: nothing is written,
    and no audio kept, before it has returned True within `consent_timeout_ms`; the time before is
    silence. Otherwise there is no file; raising and taking too long are told to ON_ERROR.

    `close` of a recording waits `close_timeout_ms` for the disk; what is not written then is
    reported, and written if the disk comes back.
    """

    def __init__(
        self,
        directory: str | PathLike[str],
        *,
        channels: Literal["stereo", "mixed", "split"] = "stereo",
        name: str = "{session_id}",
        sample_rate: int | None = None,
        outbound: bool = True,
        consent: Consent | None = None,
        consent_timeout_ms: float = 60_000.0,
        close_timeout_ms: float = 5000.0,
        max_file_bytes: int = _MAX_FILE_BYTES,
        mode: int = 0o600,
        required: bool = False,
    ) -> None:
        if channels not in ("stereo", "mixed", "split"):
            raise ValueError(f"channels: {shown(channels)}; 'stereo', 'mixed' or 'split' fits")
        _check_name(name)
        if sample_rate is not None:
            _check("sample_rate", sample_rate, 8000, 192_000)
        _check("consent_timeout_ms", consent_timeout_ms, 1, 3_600_000)
        _check("close_timeout_ms", close_timeout_ms, 1, 600_000)
        _check("max_file_bytes", max_file_bytes, 2**16, _MAX_FILE_BYTES)
        _check("mode", mode, 0o200, 0o777)
        if consent is not None and not callable(consent):
            raise TypeError(f"consent: {type(consent).__name__}; a function of the session fits")
        self._directory = Path(directory)
        self._name = name
        self._consent = consent
        self._outbound = outbound
        self._times = (float(consent_timeout_ms), float(close_timeout_ms))
        self._format = TapeFormat(channels, sample_rate, outbound, max_file_bytes, mode)
        self.required = bool(required)

    def open(self, session: VoiceSession) -> WavRecording:
        """The recording of a call that begins now. Its files are opened beside the call."""
        stem = self._directory / _file_name(self._name, session)
        rate = self._format.sample_rate or _rate_of(session)
        tape = Tape(stem, self._format, rate)
        return WavRecording(session, tape, self._outbound, self._consent, *self._times)


class WavRecording(Recording):
    """One call's recording, on the event loop's side; its `Tape` is the writing thread's."""

    def __init__(
        self,
        session: VoiceSession,
        tape: Tape,
        outbound: bool,
        consent: Consent | None,
        consent_timeout_ms: float,
        close_timeout_ms: float,
    ) -> None:
        self.lost_ms = 0.0
        """Audio that the disk was too slow or too full for, or refused, of both sides."""
        self.overlapped_ms = 0.0
        """Audio that was left out because its place was taken already."""
        self._session = session
        self._tape = tape
        self._outbound = outbound
        self._close_timeout_s = close_timeout_ms / 1000
        self._sides = (Side(0), Side(1))
        self._written_ms = 0.0  # up to where it was handed over
        self._held_ms = 0.0  # not handed over yet, of both sides
        self._waiting_ms = 0.0  # handed over, and not written yet
        self._process = os.getpid()
        self._tell: Callable[[Exception], None] | None = None
        self._untold: list[Exception] = []
        self._failing = False
        self._paused = False
        self._pauses: list[list[float | None]] = []
        self._silent_until_ms = -math.inf
        self._loop = _running_loop()
        # The media clock is at least this far ahead of the loop's: a frame shows how far.
        self._ahead_ms = -(now_ms() if self._loop else 0.0)
        self._jobs: set[asyncio.Future[None]] = set()
        self._closing: asyncio.Future[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._agreed = consent is None
        WRITER.acquire()
        self._dropped = weakref.finalize(self, _abandoned, tape, os.getpid())
        self._dropped.atexit = False
        self._session.metadata["recordings"] = []
        if consent is not None and self._loop is not None:
            ask = self._ask(consent, consent_timeout_ms)
            self._asking = self._loop.create_task(ask)
        self._opened = self._do(self._tape.prepare if consent else self._tape.open, self._named)

    # --- frames -------------------------------------------------------------------------------

    def inbound(self, frame: AudioFrame, at_ms: float | None = None) -> None:
        """The caller's audio. `at_ms` counts where the frame has no `clock_ms`."""
        self._add(0, frame, at_ms)

    def played(self, frame: AudioFrame, at_ms: float | None = None) -> None:
        """Audio that left for the caller. `at_ms` counts where the frame has no `clock_ms`."""
        if self._outbound:
            self._add(1, frame, at_ms)

    def _add(self, number: int, frame: AudioFrame, at_ms: float | None) -> None:
        if self._closing is not None:
            return
        place = at_ms if frame.clock_ms is None else frame.clock_ms
        if place is None or not math.isfinite(place):
            raise ValueError(f"at_ms: {shown(place)}; ms since the session opened fits")
        if self._loop is not None:
            self._ahead_ms = max(self._ahead_ms, place + frame.duration_ms - now_ms())
        if not self._agreed:
            return
        # Audio from before it was resumed, or agreed to, may come after: a program that stalled.
        silent = self._paused or place < self._silent_until_ms
        side = self._sides[number]
        side.add(frame, place, silent=silent)
        self._held_ms += frame.duration_ms
        if side.end_ms - self._written_ms >= _BLOCK_MS or self._held_ms >= 2 * _BLOCK_MS:
            self._hand_over(side.end_ms)

    # --- consent and pauses -------------------------------------------------------------------

    def pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._pauses.append([round(self._clock_ms, 1), None])
            self._tell_pauses()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._silent_until_ms = max(self._silent_until_ms, self._clock_ms)
            self._pauses[-1][1] = round(self._clock_ms, 1)
            self._tell_pauses()

    @property
    def _clock_ms(self) -> float:
        """The media clock now, as far as frames have shown it."""
        if self._loop is None:
            return max(side.end_ms for side in self._sides)
        return max(0.0, self._ahead_ms + now_ms())

    def _tell_pauses(self) -> None:
        self._session.metadata["recording_pauses"] = [tuple(each) for each in self._pauses]

    async def _ask(self, consent: Consent, timeout_ms: float) -> None:
        try:
            async with asyncio.timeout(timeout_ms / 1000) as limit:
                answer = consent(self._session)
                if inspect.isawaitable(answer):
                    answer = await answer
            if limit.expired():  # and whoever was asked went on regardless
                raise TimeoutError
        except TimeoutError:
            self._failed(TimeoutError(f"no consent within {timeout_ms:g} ms: not recorded"))
        except asyncio.CancelledError:
            if self._closing is None:
                self._failed(RuntimeError("consent was cancelled: not recorded"))
            raise
        except Exception as error:  # noqa: BLE001 (a program's function may raise anything)
            self._failed(error)
        else:
            if answer is True and self._closing is None:
                self._silent_until_ms = self._clock_ms
                self._agreed = True
                self._do(self._tape.open, self._named)

    # --- opening and closing ------------------------------------------------------------------

    async def ready(self) -> None:
        """Returns once the files are there (with `consent`: once they can be); raises `OSError`."""
        if self._opened is not None:
            with outside():
                await asyncio.shield(self._opened)

    def on_error(self, tell: Callable[[Exception], None]) -> None:
        self._tell = tell
        untold, self._untold = self._untold, []
        for error in untold:
            tell(error)

    async def close(self) -> Sequence[Path]:
        """Completes it; the files. Waits for the disk no longer than it was given, and then tells
        what is not written yet."""
        if self._closing is None:
            self._loop = asyncio.get_running_loop()
            if self._asking is not None:
                self._asking.cancel()
            self._hand_over(math.inf, last=True)
            self._dropped.detach()
            self._closing = self._do(self._tape.finish, self._named)
            if self._closing is None:  # in a forked child
                self._closing = self._loop.create_future()
                self._closing.set_result(None)
            WRITER.release()
            self.overlapped_ms = sum(side.overlapped_ms for side in self._sides)
        with outside():
            done, _ = await asyncio.wait([self._closing], timeout=self._close_timeout_s)
        if not done and not self._failing:
            self._failed(
                TimeoutError(f"{self._waiting_ms:.0f} ms of the recording wait for a disk")
            )
        paths = list(self._tape.paths)
        self._session.metadata["recordings"] = [str(path) for path in paths]
        return paths

    def _named(self, error: BaseException | None) -> None:
        self._session.metadata["recordings"] = [str(path) for path in self._tape.paths]
        if error is not None:
            self._failed(error)

    # --- the writing thread's side of things --------------------------------------------------

    def _hand_over(self, upto_ms: float, last: bool = False) -> None:
        """Gives what was placed so far to the writing thread."""
        self._written_ms = max(self._written_ms, upto_ms)
        self._held_ms = 0.0
        segments = [segment for side in self._sides for segment in side.take()]
        if not segments:
            return
        length = sum(segment.duration_ms for segment in segments)
        size = sum(len(segment.data) for segment in segments)

        def write() -> None:
            try:
                self._tape.write(segments)
            finally:
                WRITER.free(size)

        def written(error: BaseException | None) -> None:
            self._waiting_ms -= length
            if error is not None:
                self.lost_ms += length
                self._failed(error)
            else:
                self._failing = False
            if len(self._tape.paths) != len(self._session.metadata["recordings"]):
                self._named(None)

        late = self._waiting_ms + length > 2 * _MAX_WAITING_MS and not last
        if late or os.getpid() != self._process or not WRITER.reserve(size):
            # Lost audio is silence of its length: what follows stands in its own place.
            self.lost_ms += length
            for side in self._sides:
                side.break_off()
            self._failed(OSError("the disk does not keep up: audio of the recording is left out"))
        else:
            if self._do(write, written) is not None:
                self._waiting_ms += length

    def _do(
        self, job: Callable[[], None], told: Callable[[BaseException | None], None]
    ) -> asyncio.Future[None] | None:
        """Has the thread do a job; `told` gets to know on the event loop how it went."""
        if os.getpid() != self._process:
            return None  # a forked child: the files are its parent's
        if self._loop is None:
            WRITER.submit(_logged, job, self._tape)
            return None
        # By the loop's own door to threads: a virtual clock waits for what goes through it.
        future = self._loop.run_in_executor(WRITER, job)
        self._jobs.add(future)

        def done(future: asyncio.Future[None]) -> None:
            self._jobs.discard(future)
            if not future.cancelled():
                told(future.exception())

        future.add_done_callback(done)
        return future

    def _failed(self, error: BaseException) -> None:
        """Once per row of failures."""
        if self._failing:
            return
        if not isinstance(error, Exception):
            error = RuntimeError(repr(error))
        self._failing = True
        _log.error("recording %s: %s", self._tape.stem, error)
        if self._tell is None:
            self._untold.append(error)
        else:
            self._tell(error)


def _abandoned(tape: Tape, process: int) -> None:
    """Nobody closed it, and nobody can any longer."""
    if os.getpid() != process:
        return
    WRITER.submit(_logged, tape.finish, tape)
    WRITER.release()


def _logged(job: Callable[[], None], tape: Tape) -> None:
    try:
        job()
    except Exception as error:  # noqa: BLE001 (there is nobody else to be told)
        _log.error("recording %s: %s", tape.stem, error)


def _file_name(pattern: str, session: VoiceSession) -> str:
    made = session.created_at
    name = pattern.format(
        session_id=session.id,
        room_id=session.room_id,
        participant_id=session.participant_id,
        channel_id=session.channel_id,
        date=f"{made:%Y-%m-%d}",
        time=f"{made:%H-%M-%S}",
    )
    # Ids are uuids as a rule; whatever else an application chose must stay in the directory, and a
    # file's name has 255 bytes.
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")[:200] or "_"


def _rate_of(session: VoiceSession) -> int | None:
    rate = session.metadata.get("sample_rate")
    fits = isinstance(rate, int) and not isinstance(rate, bool) and 8000 <= rate <= 192_000
    return rate if fits else None


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"name: {type(name).__name__}; a str fits")
    try:
        name.format(**dict.fromkeys(_NAME_FIELDS, "x"))
    except (LookupError, ValueError, AttributeError) as error:
        fields = ", ".join(f"{{{field}}}" for field in _NAME_FIELDS)
        raise ValueError(f"name: {shown(name)}; of these fields any fit: {fields}") from error


def _check(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name}: {shown(value)}; {low} to {high} fits")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
