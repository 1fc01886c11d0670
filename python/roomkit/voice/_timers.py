"""`Timers`: what a state machine that is told the time has to do when."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["NEVER", "Timers"]

NEVER: Final = math.inf

# An event that is dated further back than this is dated wrongly: no detector decides so late.
_LATEST_MS: Final = 3000.0


class Timers:
    """Deadlines by name, and a clock that stands still while the call is on hold.

    `now_ms` is the time as it is told, `now` is it without the holds; deadlines are in the latter.
    """

    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        self._actions = actions
        self.due = dict.fromkeys(actions, NEVER)
        """When what is to be done; of two at one time the upper goes first."""
        self.now_ms = -math.inf
        self.now = -math.inf
        self._held_ms = 0.0
        self._held_since: float | None = None
        self._boundary = -math.inf  # the newest date
        self._stopped = False

    @property
    def held(self) -> bool:
        """The clock stands still."""
        return self._held_since is not None

    def enter(self, now_ms: float) -> None:
        """It is `now_ms`; what goes back, or is no time, counts as the newest that was told."""
        if now_ms > self.now_ms:
            self.now_ms = float(now_ms)
        if self._held_since is None:
            self.now = self.now_ms - self._held_ms

    def advance_to(self, now_ms: float) -> None:
        """It is `now_ms`: does what was due."""
        self.enter(now_ms)
        self.advance(self.now_ms)

    def hold(self, held: bool) -> None:
        """Stops the clock, or lets it go on."""
        if held and self._held_since is None:
            self._held_since = self.now_ms
        elif not held and self._held_since is not None:
            self._held_ms += self.now_ms - self._held_since
            self._held_since = None

    def stop(self) -> None:
        """Nothing becomes due any longer."""
        self._stopped = True
        self.due.update(dict.fromkeys(self.due, NEVER))

    def dated(self, at_ms: float) -> tuple[float, float]:
        """A date as it is told, and without the holds; put between the one before it and now."""
        if not at_ms <= self.now_ms:
            at_ms = self.now_ms
        at_ms = max(float(at_ms), self.now_ms - _LATEST_MS)
        at = self.now
        if self._held_since is None:
            at = max(self._boundary, at - (self.now_ms - at_ms))
            at_ms = self.now_ms - (self.now - at)
        self._boundary = at
        return at_ms, at

    def deadline_ms(self) -> float | None:
        """The next deadline, as the time is told; None: there is none."""
        due = min(self.due.values())
        return None if due == NEVER or self.held else due + self._held_ms

    def advance(self, until_ms: float) -> None:
        """Does what was due until then, in order."""
        while True:
            name = min(self.due, key=self.due.__getitem__)
            due = self.due[name]
            # Added up as `deadline_ms` does: what was promised for then is done then.
            if due == NEVER or due + self._held_ms > until_ms or self.held or self._stopped:
                return
            self.due[name] = NEVER
            self.now = max(self.now, due)
            self._actions[name]()
