"""The journal of a call: what happened when, told by both ends on one clock, for the live view, the
verdict and the picture."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Entry", "Journal"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened."""

    at: float
    """Wall clock, seconds since the epoch: the one clock that two processes share."""
    who: str
    """`"application"`, `"caller"` …"""
    kind: str
    """One word that programs look for: `"says"`, `"said"`, `"key"`, `"cut"` …"""
    text: str
    """What a person reads."""
    data: dict[str, Any] = field(default_factory=dict)
    """Facts that belong to the kind."""

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, line: str | bytes) -> Entry:
        """The entry of a `line`. Raises `ValueError` for anything else."""
        try:
            fields = json.loads(line)
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"no journal entry: {line!r}: {error}") from None


class Journal:
    """Entries in order of their coming, and whoever wants to hear of them."""

    def __init__(self, who: str, clock: Callable[[], float] = time.time) -> None:
        self.who = who
        self.entries: list[Entry] = []
        self.listeners: list[Callable[[Entry], None]] = []
        self._clock = clock

    def note(self, kind: str, text: str, *, at: float | None = None, **data: Any) -> Entry:
        """Writes what this end did or saw, now or at `at`."""
        entry = Entry(self._clock() if at is None else at, self.who, kind, text, data)
        self.take(entry)
        return entry

    def take(self, entry: Entry) -> None:
        """Adds an entry that another end wrote."""
        self.entries.append(entry)
        for listener in self.listeners:
            listener(entry)

    def of(self, kind: str, who: str | None = None) -> list[Entry]:
        """All entries of a kind, oldest first."""
        return [e for e in self.entries if e.kind == kind and who in (None, e.who)]
