"""A conversation that is told things at given times, and what it commanded."""

from __future__ import annotations

from dataclasses import dataclass, field

from roomkit.voice.conversation import Command, Conversation, EndTurn, Phase
from roomkit.voice.turns import BargeIn, Turns

__all__ = ["Script", "asked", "script"]

HANGOVER_MS = 200  # the detector's
ONSET_MS = 60


@dataclass
class Script:
    """A conversation that is told things at given times; what it commanded, with when."""

    conversation: Conversation
    now: float = 0.0
    commands: list[tuple[float, Command]] = field(default_factory=list)

    def to(self, until: float) -> None:
        """Lets time pass as a driver does: by deadline."""
        for _ in range(1000):
            self.drain()
            due = self.conversation.deadline_ms()
            if due is None or due > until:
                break
            assert due >= self.now, "a deadline in the past"
            self.now = due
            self.conversation.tick(due)
        else:
            raise AssertionError("deadlines without end")
        self.now = until
        self.conversation.tick(until)
        self.drain()

    def drain(self) -> None:
        while (command := self.conversation.poll()) is not None:
            self.commands.append((self.now, command))

    def starts(self, at: float) -> None:
        self.to(at + ONSET_MS)
        self.conversation.speech_started(self.now, at)
        self.drain()

    def ends(self, at: float) -> None:
        self.to(at + HANGOVER_MS)
        self.conversation.speech_ended(self.now, at)
        self.drain()

    def speaks(self, at: float, until: float) -> None:
        self.starts(at)
        self.ends(until)

    def hears(self, at: float, utterance: int, text: str) -> None:
        self.to(at)
        self.conversation.recognised(at, utterance, text)
        self.drain()

    def partial(self, at: float, utterance: int, text: str) -> None:
        self.to(at)
        self.conversation.partial(at, utterance, text)
        self.drain()

    def plays(self, at: float, playback: int, interruptible: bool = True) -> None:
        self.to(at)
        self.conversation.playing(at, playback, interruptible=interruptible)
        self.drain()

    def played(self, at: float, playback: int) -> None:
        self.to(at)
        self.conversation.played(at, playback)
        self.drain()

    def answering(self, at: float, turn: int) -> None:
        self.to(at)
        self.conversation.answering(at, turn)
        self.drain()

    def answered(self, at: float, turn: int) -> None:
        self.to(at)
        self.conversation.answered(at, turn)
        self.drain()

    def of(self, *kinds: type) -> list[Command]:
        return [command for _, command in self.commands if isinstance(command, kinds)]

    def last(self) -> tuple[float, Command]:
        return self.commands[-1]

    def last_two(self) -> list[tuple[float, Command]]:
        return self.commands[-2:]

    def when(self, kind: type) -> float:
        return next(at for at, command in self.commands if isinstance(command, kind))

    def texts(self) -> list[str]:
        return [command.text for _, command in self.commands if isinstance(command, EndTurn)]

    def phase(self) -> Phase:
        return self.conversation.phase


def script(
    turns: Turns | None = None, barge_in: BargeIn | None = None, recognises: bool = True
) -> Script:
    return Script(Conversation(turns, barge_in, recognises=recognises))


def asked(**settings: object) -> Script:
    """Somebody has asked, and is being answered: turn 1, utterance 1, from 2000 ms on."""
    s = script(**settings)  # type: ignore[arg-type]
    s.speaks(0, 1000)
    if settings.get("recognises", True):
        s.hears(1400, 1, "what is the time")
    s.to(1700)
    s.answering(2000, 1)
    s.commands.clear()
    return s
