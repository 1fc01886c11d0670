"""`Understood`: what is heard beside what was agreed on, where it can mean one thing only.

Far ends send what they should not: digits under the number that they gave them themselves (RFC 3264
§5.1 wants the receiver's), or under another one of our offer; one law of G.711 where the other was
agreed on; what was agreed on before, until they have read our answer. A number that means nothing
else here is understood. Nothing of it is offered, answered or sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from roomkit.rtp.codecs import DYNAMIC_TYPES, PCMA, PCMU, STATIC_NOISE, Codec

if TYPE_CHECKING:
    from roomkit.rtp.sdp.media import Media

__all__ = ["NOTHING", "Types", "Understood", "by_clock", "event_types", "noise_types", "understood"]

Types: TypeAlias = tuple[tuple[int, int], ...]
"""Payload types with the clock that each counts at."""

_NOISE: Final = 13
_CLOCKS: Final = range(8000, 192_001)  # that the media core knows


@dataclass(frozen=True)
class Understood:
    """See the module."""

    codecs: tuple[Codec, ...] = ()
    events: Types = ()
    """Of digits."""
    noise: Types = ()
    """Of comfort noise."""

    def without(self, taken: Iterable[int]) -> Understood:
        """What is left of it where these numbers mean something else, and no number two things:
        digits before codecs, and what comes first before the rest."""
        seen = set(taken)

        def free(number: int) -> bool:
            if number in seen:
                return False
            seen.add(number)
            return True

        return Understood(
            events=tuple(each for each in self.events if free(each[0])),
            codecs=tuple(each for each in self.codecs if free(each.payload_type)),
            noise=tuple(each for each in self.noise if free(each[0])),
        )

    def __add__(self, other: Understood) -> Understood:
        return Understood(
            self.codecs + other.codecs, self.events + other.events, self.noise + other.noise
        )


NOTHING: Final = Understood()


def understood(media: Media, codecs: tuple[Codec, ...], *, events: bool, noise: bool) -> Understood:
    """What the far end's audio says of itself, where `codecs` were agreed on. `events` and `noise`:
    whether digits and comfort noise are wanted at all."""
    theirs: list[Codec] = []
    for codec in codecs:
        with contextlib.suppress(ValueError):  # a number that it cannot have here
            theirs.append(replace(codec, payload_type=codec.wire_type, send_payload_type=None))
    if any(codec.name in ("PCMU", "PCMA") for codec in codecs):
        # Gateways change between the laws without a word; unless the number is something else's.
        means = {encoding.payload_type: encoding.name.upper() for encoding in media.encodings}
        theirs += (law for law in (PCMU, PCMA) if means.get(law.payload_type, law.name) == law.name)
    return Understood(
        tuple(theirs),
        event_types(media) if events else (),
        (*noise_types(media), (_NOISE, 8000)) if noise else (),
    )


def event_types(media: Media) -> Types:
    """Telephone events that it has: dynamic types (RFC 4733 §7)."""
    return tuple(
        (encoding.payload_type, encoding.clock_rate)
        for encoding in media.encodings
        if encoding.name.lower() == "telephone-event"
        and encoding.payload_type in DYNAMIC_TYPES
        and encoding.clock_rate in _CLOCKS
    )


def noise_types(media: Media) -> Types:
    """Comfort noise that it has: dynamic types (RFC 3389 §4), or one that is its own."""
    return tuple(
        (encoding.payload_type, encoding.clock_rate)
        for encoding in media.encodings
        if encoding.name.upper() == "CN"
        and (
            encoding.payload_type in DYNAMIC_TYPES
            or (encoding.payload_type in STATIC_NOISE and encoding.clock_rate == 8000)
        )
        and encoding.clock_rate in _CLOCKS
    )


def by_clock(agreed: Mapping[int, int], others: Types) -> dict[int, int | tuple[int, ...]]:
    """Payload types as the options have them: what was agreed on first."""
    found = {clock: [number] for clock, number in agreed.items()}
    for number, clock in others:
        found.setdefault(clock, []).append(number)
    return {clock: tuple(each) if len(each) > 1 else each[0] for clock, each in found.items()}
