"""`Hold`: who of the two has put the other on hold (RFC 3264 §8.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

from roomkit.rtp.checks import one_of
from roomkit.rtp.options import MediaDirection

__all__ = ["Hold", "HoldDirection"]

HoldDirection: TypeAlias = Literal["sendonly", "inactive"]


class Hold:
    """Hold is a change of direction, and this remembers what it was before."""

    def __init__(
        self,
        direction: Callable[[], MediaDirection],
        turn: Callable[[MediaDirection], Awaitable[None]],
    ) -> None:
        """`direction()` is the one that holds now, `await turn(direction)` goes over to another
        and tells `turned` of it."""
        self._direction = direction
        self._turn = turn
        self.on_hold = False
        """Whether one side has put the other on hold."""
        self.asked: HoldDirection | None = None
        """What `begin` was asked for, until `end`."""
        self.before: tuple[MediaDirection, bool] | None = None
        """The direction before, and whether the far end had put us on hold then; None while we do
        not hold it."""

    async def begin(self, direction: HoldDirection) -> None:
        """Puts the far end on hold. Idempotent; raises `ValueError` for another direction."""
        one_of(direction, "direction", ("sendonly", "inactive"))
        before = self.before or (self._direction(), self.on_hold)
        asked = direction
        if before[0] in ("recvonly", "inactive"):
            direction = "inactive"  # the far end does not want to hear us either
        if self._direction() != direction:
            await self._turn(direction)
        self.before, self.asked = before, asked
        self.on_hold = True

    async def end(self) -> None:
        """Takes the far end off hold. Idempotent."""
        if self.before is None:
            return
        direction, held = self.before
        if direction != self._direction():
            await self._turn(direction)
        self.before = self.asked = None
        self.on_hold = held

    def goes_on(
        self, before: tuple[MediaDirection, bool], asked: HoldDirection, free: MediaDirection
    ) -> None:
        """The far end has made another offer while we hold it: `free` is what it would come to
        without."""
        direction, held = before
        held = free != "sendrecv" and (held or direction == "sendrecv")
        self.before, self.asked = (free, held), asked
        self.on_hold = True

    def turned(self, before: MediaDirection, now: MediaDirection) -> None:
        """The direction has changed, by `begin`, `end` or otherwise."""
        if now != before:
            self.before = self.asked = None
            self.on_hold = now != "sendrecv" and (self.on_hold or before == "sendrecv")
