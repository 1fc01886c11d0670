"""A text in units that are said one after another, and the marks of a voice beside them."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Final

__all__ = ["Units", "align"]

_SPACELESS: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_UNIT: Final = re.compile(rf"[{_SPACELESS}][^\w\s]*|[^\s{_SPACELESS}]+")
_TOKEN: Final = re.compile(rf"[{_SPACELESS}]|[^\W_{_SPACELESS}]+")

# How long a word takes, in letters: beside these it has some time of its own, and a number is said
# in words. Fitted to espeak-ng's word times in English, German, French and Spanish.
_PER_WORD: Final = 1.5
_DIGIT: Final = 6.0  # "seven"
_TWELVE: Final = 7.0  # 10 to 12
_TEENS: Final = 9.0  # "fourteen", "forty"
_TENS: Final = 13.0  # "forty-two"
_HUNDRED: Final = 9.0  # "hundred and"
_NUMBER: Final = re.compile(r"\d+")

# Where text and marks differ, so many words of both are looked at to find where they agree again.
_WINDOW: Final = 48


class Units:
    """The words of a text with what stands around them; of scripts without spaces, characters."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._ends: list[int] = []
        self.tokens: list[tuple[str, int]] = []
        """What is compared with marks, and of which unit it is."""
        for match in _UNIT.finditer(text):
            tokens = _TOKEN.findall(match.group())
            if tokens:
                self._ends.append(match.end())
                number = len(self._ends) - 1
                self.tokens += [(token.casefold(), number) for token in tokens]
            elif self._ends:
                # A dash or a smiley takes no time: it is of the word before it.
                self._ends[-1] = match.end()

    def __len__(self) -> int:
        return len(self._ends)

    def end(self, count: int) -> int:
        """Where in the text the first `count` units end."""
        if count >= len(self._ends):
            return len(self._text) if self._ends else 0
        return self._ends[count - 1] if count else 0

    def text(self, unit: int) -> str:
        """That unit as it is written."""
        return self._text[self._ends[unit - 1] if unit else 0 : self._ends[unit]].strip()

    def weight(self, unit: int) -> float:
        """How long it takes to say, compared with others."""
        text = self.text(unit)
        letters = sum(character.isalpha() for character in text)
        numbers = _NUMBER.findall(text)
        # "3.50", "10:30": each, and a word between.
        between = max(0, len(numbers) - 1)
        return _PER_WORD + letters + sum(map(_letters, numbers)) + between


def _letters(number: str) -> float:
    """How many letters a number has when it is said."""
    if len(number) > 4:
        return _DIGIT * len(number)  # one after another, as of a telephone
    if len(number) > 2:
        rest = 0.0 if number[-2:].strip("0") == "" else _letters(number[-2:])
        return _letters(number[:-2]) + _HUNDRED + rest
    if len(number) == 1:
        return _DIGIT
    value = int(number)
    if value <= 12:
        return _TWELVE
    return _TEENS if value < 20 or value % 10 == 0 else _TENS


def align(units: Units, marks: list[str]) -> list[tuple[int, int, int]]:
    """What each mark says, as (mark, first unit, last unit), rising in all; without those that
    stand nowhere in the text."""
    said = units.tokens
    marked = [
        (token.casefold(), mark, at)
        for mark, text in enumerate(marks)
        for at, token in enumerate(_TOKEN.findall(text))
    ]
    same: list[tuple[int, int]] = []
    i = j = 0
    while i < len(said) and j < len(marked):
        if said[i][0] == marked[j][0]:
            same.append((i, j))
            i, j = i + 1, j + 1
            continue
        left = [token for token, _ in said[i : i + _WINDOW]]
        right = [token for token, _, _ in marked[j : j + _WINDOW]]
        blocks = SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()[:-1]
        for block in blocks:
            same += [(i + block.a + n, j + block.b + n) for n in range(block.size)]
        step = _WINDOW // 2
        last = blocks[-1] if blocks else None
        i += step if last is None else last.a + last.size
        j += step if last is None else last.b + last.size
    found: list[tuple[int, int, int]] = []
    for i, j in same:
        unit, (_, mark, at) = said[i][1], marked[j]
        if found and found[-1][0] == mark:
            found[-1] = (mark, found[-1][1], unit)
            continue
        # Words of it before the one that was found may be written otherwise.
        free = found[-1][2] + 1 if found else 0
        found.append((mark, min(unit, max(free, said[max(0, i - at)][1])), unit))
    return _filled(found, len(marks), len(units))


def _filled(
    found: list[tuple[int, int, int]], marks: int, units: int
) -> list[tuple[int, int, int]]:
    """With the unknown marks between two known ones, where there is one for each word."""
    filled: list[tuple[int, int, int]] = []
    before = (-1, -1, -1)
    for one in [*found, (marks, units, units)]:
        words = one[1] - before[2] - 1
        if words > 0 and one[0] - before[0] - 1 == words:
            filled += [(before[0] + n, before[2] + n, before[2] + n) for n in range(1, words + 1)]
        filled.append(one)
        before = one
    return filled[:-1]
