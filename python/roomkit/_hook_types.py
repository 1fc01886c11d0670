"""What `RoomKit.hook` and `add_hook` are to a type checker: each trigger has its event.

A handler for another event, or one that returns something else than a hook may, is found by it;
nothing of this is there at run time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Literal, Protocol, TypedDict, TypeVar, Unpack, overload

from roomkit.hooks import HookContext, HookExecution, HookResult, HookTrigger
from roomkit.voice.base import Unsubscribe
from roomkit.voice.events import (
    AfterTTSEvent,
    BargeInEvent,
    BeforeTTSEvent,
    ClientDisconnectedEvent,
    ClientHeardAgainEvent,
    ClientResumedEvent,
    ClientUnheardEvent,
    DTMFDetectedEvent,
    ErrorEvent,
    HookEvent,
    IdleEvent,
    PartialTranscriptionEvent,
    SessionEndedEvent,
    SessionStartedEvent,
    SpeechEndEvent,
    SpeechStartEvent,
    TranscriptionEvent,
    TTSCancelledEvent,
    TurnEndedEvent,
)

__all__ = ["AddHook", "HookDecorator", "Registers"]

_E = TypeVar("_E")
_R = TypeVar("_R", bound=HookResult | None)
_T = TypeVar("_T")

_Handler = Callable[[_T, HookContext], Awaitable[HookResult | None]]


class Registers(Protocol[_E]):
    """Takes a handler of one event, and leaves it as it is."""

    def __call__(
        self, handler: Callable[[_E, HookContext], Awaitable[_R]], /
    ) -> Callable[[_E, HookContext], Awaitable[_R]]: ...


class _Where(TypedDict, total=False):
    channel_ids: Collection[str] | None
    room_ids: Collection[str] | None


class _Options(_Where, total=False):
    execution: HookExecution
    priority: int
    name: str
    timeout: float | None


class HookDecorator(Protocol):
    """`RoomKit.hook`."""

    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_SESSION_STARTED],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[SessionStartedEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_SESSION_ENDED],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[SessionEndedEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_CLIENT_DISCONNECTED],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[ClientDisconnectedEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_CLIENT_RESUMED],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[ClientResumedEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_CLIENT_UNHEARD],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[ClientUnheardEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_CLIENT_HEARD_AGAIN],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[ClientHeardAgainEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_DTMF],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[DTMFDetectedEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_SPEECH_START],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[SpeechStartEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_SPEECH_END],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[SpeechEndEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_PARTIAL_TRANSCRIPTION],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[PartialTranscriptionEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_TRANSCRIPTION],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[TranscriptionEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.BEFORE_TTS],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[BeforeTTSEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.AFTER_TTS],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[AfterTTSEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_TTS_CANCELLED],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[TTSCancelledEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_BARGE_IN],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[BargeInEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_TURN_ENDED],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[TurnEndedEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_IDLE],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[IdleEvent]: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_ERROR],
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[ErrorEvent]: ...
    @overload
    def __call__(
        self,
        trigger: HookTrigger,
        execution: HookExecution = ...,
        priority: int = ...,
        name: str = ...,
        timeout: float | None = ...,
        **where: Unpack[_Where],
    ) -> Registers[Any]: ...


class AddHook(Protocol):
    """`RoomKit.add_hook`."""

    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_SESSION_STARTED],
        handler: _Handler[SessionStartedEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_SESSION_ENDED],
        handler: _Handler[SessionEndedEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_CLIENT_DISCONNECTED],
        handler: _Handler[ClientDisconnectedEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_CLIENT_RESUMED],
        handler: _Handler[ClientResumedEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_CLIENT_UNHEARD],
        handler: _Handler[ClientUnheardEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_CLIENT_HEARD_AGAIN],
        handler: _Handler[ClientHeardAgainEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_DTMF],
        handler: _Handler[DTMFDetectedEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_SPEECH_START],
        handler: _Handler[SpeechStartEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_SPEECH_END],
        handler: _Handler[SpeechEndEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_PARTIAL_TRANSCRIPTION],
        handler: _Handler[PartialTranscriptionEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_TRANSCRIPTION],
        handler: _Handler[TranscriptionEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.BEFORE_TTS],
        handler: _Handler[BeforeTTSEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.AFTER_TTS],
        handler: _Handler[AfterTTSEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_TTS_CANCELLED],
        handler: _Handler[TTSCancelledEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_BARGE_IN],
        handler: _Handler[BargeInEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_TURN_ENDED],
        handler: _Handler[TurnEndedEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_IDLE],
        handler: _Handler[IdleEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: Literal[HookTrigger.ON_ERROR],
        handler: _Handler[ErrorEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
    @overload
    def __call__(
        self,
        trigger: HookTrigger,
        handler: _Handler[HookEvent],
        **options: Unpack[_Options],
    ) -> Unsubscribe: ...
