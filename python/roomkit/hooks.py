"""Hooks: functions of the application that are called when something happens in a call.

    emit(trigger, event)         the session's watchers at once; then, and nobody waits for it:
      └─ chain of the trigger    SYNC hooks, one after another, by priority (lower first):
           │                     each may let the event pass, change it, or block it
           └─ observers          ASYNC hooks, beside one another
    run(trigger, event)          the same for a chain whose verdict is needed (ON_TRANSCRIPTION,
                                 BEFORE_TTS), awaited

What holds, whatever the hooks do:

- A handler gets a session's events one at a time and in the order in which they happened, also
  where it is registered for several triggers. Each handler has a queue of its own.
- Each trigger has a chain of its own: a hook that takes its time delays later hooks of its own
  trigger, and no other trigger. The hooks of an event begin before those of what happened after it:
  the end of speech before its transcript, partial transcripts before the final one.
- A hook that speaks, or waits for the caller in any other way, leaves its chain: later hooks go on
  as if it had let the event pass, and its time limit stands still meanwhile. (ON_TRANSCRIPTION and
  BEFORE_TTS wait, since what it returns at last is needed.)
- A hook that raises or takes too long is logged by name, reported by ON_ERROR and passed over: it
  never ends a call, and never keeps another hook from running.
- A hook may close its call, its room and the kit: what closes does not wait for that hook.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from roomkit._deliveries import Delivery, Handlers, current_delivery
from roomkit._faults import log_fault
from roomkit._handlers import check_async, ids_of, wants
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
    "Watcher",
    "speaking",
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
    ON_TURN_ENDED = "on_turn_ended"
    ON_IDLE = "on_idle"
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

Watcher = Callable[[HookTrigger, Any], object]
"""`watcher(trigger, event)`, called at once."""

# What is told of an utterance before its transcript: a hook of these that needs a moment is waited
# for, so that whoever notes one and the other finds them in order.
_BEFORE_TRANSCRIPT: Final = (
    HookTrigger.ON_SPEECH_START,
    HookTrigger.ON_SPEECH_END,
    HookTrigger.ON_PARTIAL_TRANSCRIPTION,
)
_GRACE_SECONDS: Final = 0.1


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
        return wants(session, self.channel_ids, self.room_ids)


_Place = tuple[Hook, Delivery | None]
"""A hook, and its event's place in the queue of its handler: None where that is full."""


class HookRunner:
    """Keeps the hooks of one `RoomKit` and calls them.

    `context_of` finds the room of a session; None (a room that is gone) means no hooks.
    At most `limit` events wait for one handler of one session, further ones are dropped and
    counted in `dropped`.
    """

    def __init__(
        self, context_of: Callable[[VoiceSession], HookContext | None], *, limit: int = 256
    ) -> None:
        self._context_of = context_of
        self._hooks: list[Hook] = []
        self._watchers: dict[str, list[Watcher]] = {}
        self._handlers = Handlers(limit)
        # The newest of each trigger and session; those before it have ended when it has.
        self._chains: dict[tuple[str, HookTrigger], asyncio.Task[None]] = {}

    @property
    def dropped(self) -> int:
        """Events that a handler's queue had no room for."""
        return self._handlers.dropped

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
        check_async("hook", handler, "event", "ctx")
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout: {timeout!r}; seconds above 0, or None, fits")
        hook = Hook(
            _member(HookTrigger, "trigger", trigger),
            handler,
            _member(HookExecution, "execution", execution),
            priority,
            name or getattr(handler, "__qualname__", type(handler).__name__),
            timeout,
            ids_of("channel_ids", channel_ids),
            ids_of("room_ids", room_ids),
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

    def watch(self, session: VoiceSession, watcher: Watcher) -> Unsubscribe:
        """`watcher(trigger, event)` for everything that happens in a session, at the moment it
        does and before any hook; ON_TRANSCRIPTION and BEFORE_TTS once their chain let them pass.
        It must return at once. Returns what ends it, idempotent."""
        watchers = self._watchers.setdefault(session.id, [])
        watchers.append(watcher)

        def remove() -> None:
            if watcher in watchers:
                watchers.remove(watcher)
            if not watchers and self._watchers.get(session.id) is watchers:
                del self._watchers[session.id]

        return remove

    def emit(self, trigger: HookTrigger, event: Any) -> None:
        """Tells the session's watchers, and has the hooks called. Returns at once. Call on the
        event loop's thread."""
        session: VoiceSession = event.session
        self._tell_watchers(trigger, event)
        hooks = self._wanted(trigger, session)
        # The room as it is now: at the end of a call it may be gone when the hook's turn comes.
        context = self._context_of(session) if hooks else None
        if context is None:
            return
        # Each handler has its place from now on, whenever the chain comes to it.
        chain, observers = self._reserve(hooks, event)
        if not chain:
            self._open_all(observers, event, context)
            return
        self._open(*chain[0], event, context)
        key = (session.id, trigger)
        task = asyncio.get_running_loop().create_task(
            self._emitted(chain, observers, event, context), name=f"hooks of {trigger}"
        )
        self._chains[key] = task
        task.add_done_callback(lambda done: self._chain_over(key, done))

    async def run(
        self, trigger: HookTrigger, event: Any, context: HookContext | None = None
    ) -> HookVerdict:
        """Runs the SYNC chain, then hands the event, if it passed, to the observers."""
        session: VoiceSession = event.session
        hooks = self._wanted(trigger, session)
        context = context or (self._context_of(session) if hooks else None)
        if context is not None:
            if trigger is HookTrigger.ON_TRANSCRIPTION:
                await self._settled(session, _BEFORE_TRANSCRIPT)
            chain, observers = self._reserve(hooks, event, waited_for=True)
            try:
                for hook, delivery in chain:
                    self._open(hook, delivery, event, context)
                    result = None if delivery is None else await delivery.result()
                    verdict = self._judge(hook, event, result)
                    if not verdict.allowed:
                        return verdict
                    event = verdict.event
                self._tell_watchers(trigger, event)
                self._open_all(observers, event, context)
            finally:
                _withdraw([*chain, *observers])
        else:
            self._tell_watchers(trigger, event)
        return HookVerdict(event)

    def report(self, session: VoiceSession, where: str, error: BaseException) -> None:
        """ON_ERROR: for what failed where no caller could catch it."""
        self.emit(HookTrigger.ON_ERROR, ErrorEvent(session, where, error))

    async def drain(self, timeout: float) -> None:
        """Waits up to `timeout` seconds for hooks that run or wait, then cancels the rest. Hooks
        from which this is called are neither waited for nor cancelled."""
        mine = current_delivery()
        try:
            async with asyncio.timeout(timeout):
                # Hooks may emit, so look again until nothing is left.
                while busy := self._handlers.busy(mine):
                    await busy[0].over.wait()
                    await asyncio.sleep(0)  # chains go on
        except TimeoutError:
            late = self._handlers.busy(mine)
            _log.warning("%d hook(s) still ran after %g s: cancelled", len(late), timeout)
            for delivery in late:
                delivery.cancel()

    # --- one event ------------------------------------------------------------------------------

    def _wanted(self, trigger: HookTrigger, session: VoiceSession) -> list[Hook]:
        return [hook for hook in self._hooks if hook.trigger is trigger and hook.wants(session)]

    def _tell_watchers(self, trigger: HookTrigger, event: Any) -> None:
        for watcher in tuple(self._watchers.get(event.session.id, ())):
            try:
                watcher(trigger, event)
            except Exception as error:  # noqa: BLE001 (the hooks are called nevertheless)
                log_fault(_log, error, "%s: a watcher raised", trigger)

    def _reserve(
        self, hooks: Sequence[Hook], event: Any, *, waited_for: bool = False
    ) -> tuple[list[_Place], list[_Place]]:
        """The event's places in the queues of the chain's handlers and of the observers. A chain
        that is waited for has queues of its own: a handler must not wait for itself, by way of what
        it says."""
        session: VoiceSession = event.session
        chain: list[_Place] = []
        observers: list[_Place] = []
        for hook in hooks:
            sync = hook.execution is HookExecution.SYNC
            key = (session.id, hook.handler, hook.trigger if sync and waited_for else None)
            waits = sync and waited_for
            place = (hook, self._handlers.reserve(key, hook.name, waited_for=waits))
            (chain if sync else observers).append(place)
        return chain, observers

    def _open(
        self, hook: Hook, delivery: Delivery | None, event: Any, context: HookContext
    ) -> None:
        if delivery is not None and not delivery.is_open:
            delivery.open(functools.partial(self._call, hook, event, context))

    def _open_all(self, places: Sequence[_Place], event: Any, context: HookContext) -> None:
        for hook, delivery in places:
            self._open(hook, delivery, event, context)

    async def _emitted(
        self,
        chain: Sequence[_Place],
        observers: Sequence[_Place],
        event: Any,
        context: HookContext,
    ) -> None:
        """The chain of an event for which nobody waits."""
        try:
            for hook, delivery in chain:
                self._open(hook, delivery, event, context)
                result = None if delivery is None else await delivery.result_unless_speaking()
                verdict = self._judge(hook, event, result)
                if not verdict.allowed:
                    return
                event = verdict.event
            self._open_all(observers, event, context)
        finally:
            _withdraw([*chain, *observers])

    def _chain_over(self, key: tuple[str, HookTrigger], task: asyncio.Task[None]) -> None:
        if self._chains.get(key) is task:
            del self._chains[key]

    async def _settled(self, session: VoiceSession, triggers: Sequence[HookTrigger]) -> None:
        chains = [self._chains.get((session.id, trigger)) for trigger in triggers]
        running = [chain for chain in chains if chain is not None]
        if running:
            await asyncio.wait(running, timeout=_GRACE_SECONDS)

    def _judge(self, hook: Hook, event: Any, result: HookResult | None) -> HookVerdict:
        if result is None or result.action == "allow":
            return HookVerdict(event)
        if result.action == "block":
            _log.debug("%s: hook %s blocked it: %s", hook.trigger, hook.name, result.reason)
            return HookVerdict(event, allowed=False, reason=result.reason, hook=hook.name)
        if type(result.event) is type(event) and result.event.session is event.session:
            return HookVerdict(result.event)
        what = type(result.event).__name__
        wrong = TypeError(
            f"HookResult.modify: {what}; a {type(event).__name__} of the same session fits"
        )
        self._failed(hook, event, wrong)
        return HookVerdict(event)

    async def _call(
        self, hook: Hook, event: Any, context: HookContext, delivery: Delivery
    ) -> HookResult | None:
        """Calls one hook within its time; what goes wrong is reported, not raised."""
        limit = asyncio.timeout(hook.timeout)
        try:
            async with limit:
                delivery.limit = limit
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
        finally:
            delivery.limit = None
        return None

    def _failed(self, hook: Hook, event: Any, error: BaseException) -> None:
        _log.error("%s: hook %s failed: %r", hook.trigger, hook.name, error, exc_info=error)
        # A failing ON_ERROR hook is logged only, or it would report itself for ever.
        if hook.trigger is not HookTrigger.ON_ERROR:
            self.report(event.session, f"hook {hook.name}", error)


def _withdraw(places: Sequence[_Place]) -> None:
    """Gives up the places to which the event did not come."""
    for _, delivery in places:
        if delivery is not None and not delivery.is_open:
            delivery.cancel()


@contextmanager
def speaking() -> Iterator[None]:
    """While this is open, the hook in which it was opened, if there is one, waits for the caller:
    it holds up no other hook, and its time limit stands still."""
    opened = []
    delivery = current_delivery()
    while delivery is not None:
        delivery.begin_speaking()
        opened.append(delivery)
        delivery = delivery.parent
    try:
        yield
    finally:
        for each in opened:
            each.end_speaking()


def _member(kind: type[_E], argument: str, value: Any) -> _E:
    try:
        return kind(value)
    except ValueError:
        fits = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
        raise ValueError(f"{argument}: {value!r}; one of {fits} fits") from None
