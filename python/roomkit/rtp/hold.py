"""`Holding`: what an `RTPSession` does to put the far end on hold and to take it off again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack

from roomkit.rtp.checks import one_of

if TYPE_CHECKING:
    from roomkit.rtp.addresses import Address
    from roomkit.rtp.options import MediaDirection, RTPExtra, RTPOptions

__all__ = ["Holding"]


class Holding:
    """Hold as RFC 3264 §8.4 has it: a change of direction. Part of `RTPSession`."""

    options: RTPOptions
    _before_hold: tuple[MediaDirection, bool] | None = None
    """The direction before `hold`, and whether the far end had put us on hold then."""
    _holds: Literal["sendonly", "inactive"] | None = None
    """What `hold` was asked for, until `resume`."""
    _on_hold = False

    if TYPE_CHECKING:

        async def update(
            self,
            *,
            remote_addr: Address | None = None,
            sdp: str | bytes | None = None,
            **changes: Unpack[RTPExtra],
        ) -> str | None:
            """That of the session."""

    async def hold(self, direction: Literal["sendonly", "inactive"] = "sendonly") -> None:
        """Puts the far end on hold: it is not heard any more, while frames of silence go on, and
        `rtp_timeout_on_hold` is its limit. With `"sendonly"` it may hear music, which is played
        like all else; with `"inactive"` nothing, and what is to be played waits. So it is, whatever
        is asked for, where the far end has put us on hold as well.

        The signalling is to say the same; answers to offers of the far end do. Idempotent. Raises
        `ValueError` for another direction, and what `update` raises.
        """
        one_of(direction, "direction", ("sendonly", "inactive"))
        before = self._before_hold or (self.options.direction, self._on_hold)
        asked = direction
        if before[0] in ("recvonly", "inactive"):
            direction = "inactive"  # the far end does not want to hear us either
        if self.options.direction != direction:
            await self.update(direction=direction)
        self._before_hold, self._holds = before, asked
        self._on_hold = True

    async def resume(self) -> None:
        """Takes the far end off hold. Call it when the offer to do so leaves: it may answer with
        audio at once. The direction is what it was before `hold`. Idempotent."""
        if self._before_hold is None:
            return
        direction, held = self._before_hold
        if direction != self.options.direction:
            await self.update(direction=direction)
        self._before_hold = self._holds = None
        self._on_hold = held

    @property
    def on_hold(self) -> bool:
        """Whether one side has put the other on hold: by `hold`, or by a change of direction after
        audio went both ways."""
        return self._on_hold

    def _still_holds(
        self,
        before: tuple[MediaDirection, bool],
        holds: Literal["sendonly", "inactive"],
        free: MediaDirection,
    ) -> None:
        """The far end has made another offer while we hold it: `free` is what it would come to
        without."""
        direction, held = before
        held = free != "sendrecv" and (held or direction == "sendrecv")
        self._before_hold, self._holds = (free, held), holds
        self._on_hold = True

    def _turned(self, before: MediaDirection, now: MediaDirection) -> None:
        """The direction has changed, by `hold`, `resume` or `update`."""
        if now != before:
            self._before_hold = self._holds = None
            self._on_hold = now != "sendrecv" and (self._on_hold or before == "sendrecv")
