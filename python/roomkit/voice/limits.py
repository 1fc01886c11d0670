"""`ProviderLimits`: how long a call waits for code that is not its own."""

from __future__ import annotations

from dataclasses import dataclass, fields

from roomkit.errors import shown

__all__ = ["ProviderLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderLimits:
    """How long a call waits for its providers, in seconds, each above 0 and up to 600.

    Whoever takes longer is given up and told of by ON_ERROR, and the caller hears the channel's
    `fallback` where there is nothing else to hear. None of them ever delays silence, hang-up or
    another call.

    Raises `ValueError` naming the field.
    """

    recogniser: float = 5.0
    """From the end of an utterance to its text. A recogniser that fails is asked once more, with
    the whole utterance, and may take as long again."""
    model: float = 15.0
    """To the first piece of an answer, and from each to the next."""
    voice: float = 10.0
    """To the first audio of a sentence, and from each piece to the next."""
    recorder: float = 5.0
    """To complete a recording when the call is over."""
    hang_up: float = 5.0
    """For the backend to end a session."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value: object = getattr(self, each.name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 < value <= 600:  # type: ignore[operator]
                raise ValueError(f"{each.name}: {shown(value)}; seconds above 0, up to 600, fits")
