"""Our side of a `Conversation`: what plays, and what is being answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from roomkit.voice.commands import (
    CancelPlayback,
    Command,
    PausePlayback,
    Phase,
    ResumePlayback,
    ResumeReason,
)

__all__ = ["Floor", "Playing"]

# Playbacks and answers that were told to begin and never to end.
_UNENDED: Final = 64


class Playing:
    """One thing that plays."""

    __slots__ = ("audible", "interruptible", "paused")

    def __init__(self, interruptible: bool) -> None:
        self.interruptible = interruptible
        self.paused = False
        self.audible = False  # something of it was heard


class Floor:
    """What plays and what is being answered. `command` sends one."""

    def __init__(self, command: Callable[[Command], None]) -> None:
        self._command = command
        self.playing: dict[int, Playing] = {}
        self.told = 0
        """The newest turn that was told."""
        self._unanswered: dict[int, None] = {}
        self._answers: dict[int, None] = {}
        self.audible_since: float | None = None
        """Since when something is heard of us after that turn; None: nothing is."""

    @property
    def phase(self) -> Phase:
        """Whose move it is."""
        if self.playing:
            return Phase.PAUSED if self.any_paused else Phase.SPEAKING
        return Phase.THINKING if self._answers else Phase.LISTENING

    @property
    def busy(self) -> bool:
        """We are not at the end of what we have to say."""
        return bool(self.playing or self._answers)

    @property
    def sounding(self) -> bool:
        """We speak, or are about to."""
        return bool(self._answers) or any(one.audible for one in self.playing.values())

    @property
    def any_paused(self) -> bool:
        """Something is held back."""
        return any(one.paused for one in self.playing.values())

    @property
    def unheard(self) -> bool:
        """The newest turn is being answered, and nothing was heard of that."""
        return self.told in self._answers and self.audible_since is None

    def begin(self, playback: int, interruptible: bool) -> Playing:
        """It plays."""
        if len(self.playing) >= _UNENDED:
            del self.playing[next(iter(self.playing))]
        self.playing[playback] = playing = Playing(interruptible)
        return playing

    def sound(self, playing: Playing, now: float) -> None:
        """It is heard."""
        playing.paused, playing.audible = False, True
        if self.audible_since is None:
            self.audible_since = now

    def pause(self, playback: int) -> None:
        """Holds it back."""
        self.playing[playback].paused = True
        self._command(PausePlayback(playback))

    def resume(self, reason: ResumeReason, now: float, begun: bool | None = None) -> None:
        """Goes on with all that is held back; or only with what had `begun` before, or had not."""
        for number, playing in self.playing.items():
            if playing.paused and begun in (None, playing.audible):
                self.sound(playing, now)
                self._command(ResumePlayback(number, reason))

    def cancel(self) -> None:
        """Cuts off all that may be interrupted."""
        for number in [n for n, one in self.playing.items() if one.interruptible]:
            del self.playing[number]
            self._command(CancelPlayback(number))

    def interruptible(self) -> int | None:
        """The newest playback that is heard and may be interrupted."""
        found = [n for n, one in self.playing.items() if one.interruptible and one.audible]
        return found[-1] if found else None

    def tell_turn(self) -> int:
        """The number of a turn that is told now."""
        self.told += 1
        self.audible_since = None
        if len(self._unanswered) >= _UNENDED:
            del self._unanswered[next(iter(self._unanswered))]
        self._unanswered[self.told] = None
        return self.told

    def answering(self, turn: int) -> bool:
        """It is being answered; False: it was not told, or has been answered."""
        if turn not in self._unanswered:
            return False
        del self._unanswered[turn]
        self._answers[turn] = None
        return True

    def answered(self, turn: int) -> bool:
        """It has been answered; False: it was not being."""
        self._unanswered.pop(turn, None)
        return turn in self._answers and self._answers.pop(turn) is None

    def drop_answers(self) -> None:
        """None of them goes on."""
        self._answers.clear()

    def clear(self) -> None:
        """The call is over."""
        self.playing.clear()
        self._unanswered.clear()
        self._answers.clear()
