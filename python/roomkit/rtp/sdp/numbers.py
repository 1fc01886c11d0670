"""`Numbers`: what our payload types have meant in a call, which is what they go on to mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from roomkit.rtp.codecs import DYNAMIC_TYPES

__all__ = ["Numbers"]


class Numbers:
    """The numbers of one call. None changes its meaning, however often offers and answers follow
    one another: packets of before may still be on their way (RFC 3264 §8.3.2)."""

    def __init__(self) -> None:
        self._meant: dict[int, str] = {}

    def __copy__(self) -> Numbers:
        """Numbers that go on from these, and leave them as they are."""
        twin = Numbers()
        twin._meant = dict(self._meant)
        return twin

    def note(self, number: int, rtpmap: str) -> None:
        """The far end's offer uses it, and so do we."""
        self._meant[number] = rtpmap.lower()

    def give(self, rtpmap: str, wished: int, taken: Iterable[int]) -> int:
        """A number for an encoding: that of before, or the one wished, or one that nobody used."""
        meaning, used = rtpmap.lower(), set(taken)
        known = [number for number, meant in self._meant.items() if meant == meaning]
        unused = [number for number in (wished, *DYNAMIC_TYPES) if number not in self._meant]
        # The last resort, after more encodings than there are numbers: one that rests now.
        choice: list[int] = [*known, *unused, *DYNAMIC_TYPES]
        for number in choice:
            if number not in used:
                self._meant[number] = meaning
                return number
        raise ValueError(f"payload types: no number is left for {rtpmap}; offer fewer codecs")

    def give_all(self, name: str, wished: Mapping[int, int], taken: set[int]) -> dict[int, int]:
        """The same for an encoding at several clocks; what is given is added to `taken`."""
        given: dict[int, int] = {}
        for clock, number in wished.items():
            given[clock] = self.give(f"{name}/{clock}", number, taken)
            taken.add(given[clock])
        return given
