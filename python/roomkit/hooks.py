"""Hooks: functions of the application that are called when something happens in a call.

One event takes this way::

    emit(trigger, event)            in order per session; the emitter does not wait
      └─ run(trigger, event)        SYNC hooks, one after another, by priority (lower first):
           │                        each may let the event pass, change it, or block it
           └─ observe               ASYNC hooks, each in a queue of its own per session

Chain triggers (ON_TRANSCRIPTION, BEFORE_TTS) are run by whoever needs the verdict; the others are
emitted. A hook that raises or takes too long is logged by name, reported by ON_ERROR and passed
over: it never ends a call, and never keeps another hook from running.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from roomkit._serial import SerialQueue
from roomkit.voice.events import ErrorEvent

if TYPE_CHECKING:
    from roomkit.rooms import ChannelBinding, Participant, Room
    from roomkit.voice.base import Unsubscribe, VoiceSession

__all__ = [
    "Hook",
    "HookContext",
    "HookExecution",
    "HookHandler",
    "HookResult",
    "HookRunner",
    "HookTrigger",
    "HookVerdict",
]

_log = logging.getLogger("roomkit.hooks")
_E = TypeVar("_E", bound=StrEnum)


class HookTrigger(StrEnum):
    """What a hook is called for; the classes in `roomkit.voice.events` say what it receives."""

    ON_SESSION_STARTED = "on_session_started"
    ON_SESSION_ENDED = "on_session_ended"
    ON_CLIENT_DISCONNECTED = "on_client_disconnected"
    ON_CLIENT_RESUMED = "on_client_resumed"
    ON_CLIENT_UNHEARD = "on_client_unheard"
    ON_CLIENT_HEARD_AGAIN = "on_client_heard_again"
    ON_DTMF = "on_dtmf"
    ON_SPEECH_START = "on_speech_start"
    ON_SPEECH_END = "on_speech_end"
    ON_PARTIAL_TRANSCRIPTION = "on_partial_transcription"
    ON_TRANSCRIPTION = "on_transcription"
    """Chain: a blocked transcript goes no further."""
    BEFORE_TTS = "before_tts"
    """Chain: a blocked text is not spoken."""
    AFTER_TTS = "after_tts"
    ON_TTS_CANCELLED = "on_tts_cancelled"
    ON_BARGE_IN = "on_barge_in"
    ON_ERROR = "on_error"


class HookExecution(StrEnum):
    """How a hook takes part."""

    SYNC = "sync"
    """In the chain: awaited, and what it returns counts."""
    ASYNC = "async"
    """An observer: in order per session, beside everything else; what it returns is ignored."""


@dataclass(frozen=True, slots=True)
class HookResult:
    """What a SYNC hook returns; returning None means `allow()`."""

    action: str
    """`"allow"`, `"block"` or `"modify"`."""
    reason: str = ""
    """Why it was blocked."""
    event: Any = None
    """What takes the event's place when modified."""

    @classmethod
    def allow(cls) -> HookResult:
        """The event passes as it is."""
        return cls("allow")

    @classmethod
    def block(cls, reason: str) -> HookResult:
        """The event goes no further: neither later hooks nor the framework act on it."""
        return cls("block", reason=reason)

    @classmethod
    def modify(cls, event: Any) -> HookResult:
        """`event`, of the same class, takes the place of the one that came
        (`dataclasses.replace` makes one)."""
        return cls("modify", event=event)


@dataclass(frozen=True, slots=True)
class HookContext:
    """Where an event happened: the room as it is now."""

    room: Room
    bindings: Sequence[ChannelBinding]
    participants: Sequence[Participant]


HookHandler = Callable[[Any, HookContext], Awaitable[Any]]
"""`async def handler(event, ctx)`; a SYNC one returns a `HookResult` or None."""


@dataclass(frozen=True, slots=True)
class HookVerdict:
    """What a chain came to."""

    event: Any
    """The event, as the hooks have left it."""
    allowed: bool = True
    reason: str = ""
    """Why not, when it was blocked."""
    hook: str = ""
    """Which hook blocked it."""


@dataclass(frozen=True, slots=True, eq=False)
class Hook:
    """One registration."""

    trigger: HookTrigger
    handler: HookHandler
    execution: HookExecution
    priority: int
    name: str
    timeout: float | None
    channel_ids: frozenset[str] | None
    room_ids: frozenset[str] | None

    def wants(self, session: VoiceSession) -> bool:
        """True if the filters let this session's events through."""
        return (self.channel_ids is None or session.channel_id in self.channel_ids) and (
            self.room_ids is None or session.room_id in self.room_ids
        )


class HookRunner:
    """Keeps the hooks of one `RoomKit` and calls them.

    `context_of` finds the room of a session; None (a room that is gone) means no hooks.
    At most `limit` events wait for one observer of one session, further ones are dropped and
    counted in `dropped`.
    """

    def __init__(
        self, context_of: Callable[[VoiceSession], HookContext | None], *, limit: int = 256
    ) -> None:
        self._context_of = context_of
        self._limit = limit
        self._hooks: list[Hook] = []
        # Lanes keep the order in which a session's events were emitted; observers have one each.
        self._queues: dict[tuple[str, Hook | None], SerialQueue] = {}
        self.dropped = 0
        """Events that a queue had no room for."""

    def add(
        self,
        trigger: HookTrigger,
        handler: HookHandler,
        *,
        execution: HookExecution = HookExecution.SYNC,
        priority: int = 0,
        name: str = "",
        timeout: float | None = 30.0,
        channel_ids: Collection[str] | None = None,
        room_ids: Collection[str] | None = None,
    ) -> Unsubscribe:
        """Registers `handler` and returns what takes it away again, idempotent.

        Raises `TypeError` if it is not an async function of `(event, ctx)`, `ValueError` for a
        trigger, execution or timeout that does not exist.
        """
        _check_handler(handler)
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout: {timeout!r}; seconds above 0, or None, fits")
        hook = Hook(
            _member(HookTrigger, "trigger", trigger),
            handler,
            _member(HookExecution, "execution", execution),
            priority,
            name or getattr(handler, "__qualname__", type(handler).__name__),
            timeout,
            _names("channel_ids", channel_ids),
            _names("room_ids", room_ids),
        )
        # Stable: hooks of equal priority keep the order of registration.
        self._hooks = sorted([*self._hooks, hook], key=lambda each: each.priority)

        def remove() -> None:
            self._hooks = [each for each in self._hooks if each is not hook]

        return remove

    def remove(self, handler: HookHandler) -> int:
        """Takes away every registration of `handler`; how many there were."""
        kept = [hook for hook in self._hooks if hook.handler is not handler]
        removed = len(self._hooks) - len(kept)
        self._hooks = kept
        return removed

    def emit(self, trigger: HookTrigger, event: Any) -> None:
        """Has the hooks called, in the order in which a session's events are emitted. Returns at
        once. Call on the event loop's thread."""
        session: VoiceSession = event.session
        if any(hook.trigger is trigger and hook.wants(session) for hook in self._hooks):
            # The room as it is now: at the end of a call it may be gone when the hook's turn comes.
            context = self._context_of(session)
            self._submit(session, None, functools.partial(self.run, trigger, event, context))

    async def run(
        self, trigger: HookTrigger, event: Any, context: HookContext | None = None
    ) -> HookVerdict:
        """Runs the SYNC chain, then hands the event, if it passed, to the observers."""
        session: VoiceSession = event.session
        context = context or self._context_of(session)
        if context is None:
            return HookVerdict(event)
        hooks = [hook for hook in self._hooks if hook.trigger is trigger and hook.wants(session)]
        for hook in hooks:
            if hook.execution is not HookExecution.SYNC:
                continue
            result = await self._call(hook, event, context)
            if result is None or result.action == "allow":
                continue
            if result.action == "block":
                _log.debug("%s: hook %s blocked it: %s", trigger, hook.name, result.reason)
                return HookVerdict(event, allowed=False, reason=result.reason, hook=hook.name)
            if type(result.event) is type(event) and result.event.session is session:
                event = result.event
            else:
                what = type(result.event).__name__
                wrong = TypeError(
                    f"HookResult.modify: {what}; a {type(event).__name__} of the same session fits"
                )
                self._failed(hook, event, wrong)
        for hook in hooks:
            if hook.execution is HookExecution.ASYNC:
                self._submit(session, hook, functools.partial(self._call, hook, event, context))
        return HookVerdict(event)

    def report(self, session: VoiceSession, where: str, error: BaseException) -> None:
        """ON_ERROR: for what failed where no caller could catch it."""
        self.emit(HookTrigger.ON_ERROR, ErrorEvent(session, where, error))

    async def drain(self, timeout: float, caller: asyncio.Task[Any] | None = None) -> None:
        """Waits up to `timeout` seconds for hooks that run or wait, then cancels the rest. The
        hook that runs in the task `caller` is left alone."""
        try:
            async with asyncio.timeout(timeout):
                # Hooks may emit, so look again until nothing is left but the hook that called us.
                while busy := self._others(caller):
                    await busy[0].join()
        except TimeoutError:
            late = self._others(caller)
            _log.warning("%d hook(s) still ran after %g s: cancelled", len(late), timeout)
            for queue in late:
                queue.cancel()

    def _others(self, caller: asyncio.Task[Any] | None) -> list[SerialQueue]:
        return [
            queue for queue in self._queues.values() if caller is None or queue.task is not caller
        ]

    def _submit(
        self, session: VoiceSession, hook: Hook | None, job: Callable[[], Awaitable[object]]
    ) -> None:
        key = (session.id, hook)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = SerialQueue(
                f"hook {hook.name}" if hook else "hook chain",
                _log,
                limit=self._limit,
                on_idle=lambda: self._idle(key),
            )
        if not queue.submit(job):
            self.dropped += 1

    def _idle(self, key: tuple[str, Hook | None]) -> None:
        self._queues.pop(key, None)

    async def _call(self, hook: Hook, event: Any, context: HookContext) -> HookResult | None:
        """Calls one hook within its time; what goes wrong is reported, not raised."""
        limit = asyncio.timeout(hook.timeout)
        try:
            async with limit:
                result = await hook.handler(event, context)
        except Exception as error:  # noqa: BLE001 (a hook may raise anything; the call goes on)
            if limit.expired():
                late = TimeoutError(f"took longer than {hook.timeout} s and was cancelled")
                self._failed(hook, event, late)
            else:
                self._failed(hook, event, error)
        else:
            if result is None or hook.execution is HookExecution.ASYNC:
                return None
            if type(result) is HookResult:
                return result
            wrong = TypeError(f"returned {type(result).__name__}; a HookResult or None fits")
            self._failed(hook, event, wrong)
        return None

    def _failed(self, hook: Hook, event: Any, error: BaseException) -> None:
        _log.error("%s: hook %s failed: %r", hook.trigger, hook.name, error, exc_info=error)
        # A failing ON_ERROR hook is logged only, or it would report itself for ever.
        if hook.trigger is not HookTrigger.ON_ERROR:
            self.report(event.session, f"hook {hook.name}", error)


def _check_handler(handler: Any) -> None:
    if not callable(handler):
        raise TypeError(f"hook: {handler!r} is not callable; an async function (event, ctx) fits")
    function = handler
    while isinstance(function, functools.partial):
        function = function.func
    call = getattr(function, "__call__", None)  # noqa: B004 (an object with an async __call__)
    if not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)):
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(f"hook: {name} is not async; `async def {name}(event, ctx)` fits")
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError as error:
        raise TypeError(
            f"hook: {getattr(function, '__qualname__', function)!s} must take two arguments,"
            f" (event, ctx): {error}"
        ) from None


def _member(kind: type[_E], argument: str, value: Any) -> _E:
    try:
        return kind(value)
    except ValueError:
        fits = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
        raise ValueError(f"{argument}: {value!r}; one of {fits} fits") from None


def _names(argument: str, names: Collection[str] | None) -> frozenset[str] | None:
    if isinstance(names, str):
        raise ValueError(f"{argument}: {names!r}; a collection of ids fits, such as [{names!r}]")
    return None if names is None else frozenset(names)
