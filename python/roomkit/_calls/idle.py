"""`Quiet`: when a call is idle. Told the time, and drained for what is due."""

from __future__ import annotations

__all__ = ["Quiet"]


class Quiet:
    """Tells once that nothing has happened for `idle_ms`, and again when something of ours was
    played since. What is going on (`busy`) is nothing that could be missed meanwhile."""

    def __init__(self, idle_ms: float, now_ms: float) -> None:
        self.idle_ms = idle_ms
        self.count = 0
        """Times in a row that it was told."""
        self._since_ms = now_ms
        self._told = False
        self._busy: set[object] = set()

    def heard(self, now_ms: float) -> None:
        """The caller did something."""
        self.count = 0
        self._begin(now_ms)

    def played(self, now_ms: float) -> None:
        """Something was played to him until now."""
        self._begin(now_ms)

    def busy(self, now_ms: float, what: object, busy: bool) -> None:
        """`what` goes on, or does no longer."""
        (self._busy.add if busy else self._busy.discard)(what)
        self._begin(now_ms)

    @property
    def due_ms(self) -> float | None:
        """When to call `poll`; None: not before something happens."""
        return None if self._told or self._busy else self._since_ms + self.idle_ms

    def poll(self, now_ms: float) -> int | None:
        """How many times in a row, if it is due to be told; else None."""
        due = self.due_ms
        if due is None or now_ms < due:
            return None
        self._told = True
        self.count += 1
        return self.count

    def _begin(self, now_ms: float) -> None:
        self._since_ms = now_ms
        self._told = False
