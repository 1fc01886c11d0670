"""What is said, cut into what a voice gets at once: `SentenceSplitter`."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["SentenceSplitter", "speakable", "split"]

# A voice has the whole of what it gets to read before its first sound, more or less, and the caller
# waits for that: the first piece may end at a clause. What follows is read while others play, so it
# keeps its sentence's melody as long as that is not a paragraph.
_FIRST: Final = (25, 40, 120)  # characters from which `;:–` and `,` cut, and by which spaces do
_LATER: Final = (120, 200, 300)
# Something without any place to cut it, such as a long number, a key or a link: by here it is no
# speech any longer, and memory has its bound.
_HARD: Final = 2000
# Marks and spaces that are looked at in one go. More of them decide nothing else.
_RUN: Final = 64

_CLOSERS: Final = "'\"’”»›)\\]}」』）】〉》"
_MARK: Final = re.compile("[.!?…:;,–—\n。！？；：，、।؟۔]")
_STOPS: Final = re.compile(rf"[.!?…।؟۔]{{1,{_RUN}}}[{_CLOSERS}]{{0,8}}")
_WIDE_STOPS: Final = re.compile(rf"[。！？…!?]{{1,{_RUN}}}[{_CLOSERS}]{{0,8}}")
_ENDING: Final = re.compile(rf"[.!?…।؟۔。！？]{{1,{_RUN}}}[{_CLOSERS}]{{0,8}}\Z")
_SPACES: Final = re.compile(rf"\s{{1,{_RUN}}}")
_WORD: Final = re.compile(r"[^\W_]")
_SPACELESS: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3001-\u30ff\u3400-\u9fff]"
)

# With a point they do not end a sentence, whatever follows. (Single letters and words with a point
# inside, "J. Smith", "z.B.", "e.g.", are none either.)
_ABBREVIATIONS: Final = frozenset(
    """
    dr mr mrs ms mx prof st sr jr sra srta dra mme mlle mm mgr me hr fr hrn frl dipl ing mag
    sig sigra dott dottssa avv geom rag spett gent messrs rev hon pres gov sen rep gen col maj capt
    cpt sgt lt cmdr adm bros inc ltd corp vs approx ca circa bzw ggf evtl inkl exkl zzgl vgl bspw
    sog geb gest usf str ave av avda blvd rd ste mt ft
    jan feb febr mär apr jun jul aug sep sept okt oct nov dez dec
    mio mrd tsd min max std sek ud uds vd vds pág núm nº cf env tél
    """.split()
)
# With a point they do not end a sentence if a number follows: "No. 5" but "No. I mean it".
_BEFORE_NUMBERS: Final = frozenset(
    "no nr num núm art fig abb p pp s ch cap kap vol bd sec abs § tel pos ziff ext op".split()
)
_HALVES_OF_DAY: Final = frozenset(["a.m", "p.m"])
_NUMERIC: Final = "$€£¥₹%‰°§#+−№"


class SentenceSplitter:
    """Takes text in any pieces, as a model writes it, and gives what can be spoken so far.

    Numbers, amounts, dates, times, abbreviations, initials, addresses and numbers of lists are not
    cut. A sentence's end is known with the first character of what follows it. What comes out is
    what went in, up to the white space between, and the same however it was cut up; the work is
    linear in its length, and 2000 characters at most wait.
    """

    def __init__(self) -> None:
        self._text = ""
        self._at = 0  # up to here nothing ends
        self._limits = _FIRST
        self._retry = 0  # no use in looking for a space before there is so much text

    def feed(self, piece: str) -> list[str]:
        """The sentences that are complete now; none is empty. Raises `TypeError` for no str."""
        if not isinstance(piece, str):
            raise TypeError(f"piece: {type(piece).__name__}; a str fits")
        text = self._text + piece
        start, at, sentences = 0, self._at, []
        while True:
            while start < len(text) and text[start].isspace():
                start += 1
            at = max(at, start)
            end, at = self._end(text, start, at)
            if end is None:
                break
            sentences.append(text[start:end].strip())
            start, self._limits, self._retry = end, _LATER, 0
            at = max(at, end) if at > end else end
        self._text, self._at = text[start:], at - start
        return sentences

    def finish(self) -> list[str]:
        """Nothing follows: what was left. The next `feed` begins another text."""
        rest = self._text.strip()
        self.__init__()  # type: ignore[misc]
        return [rest] if rest else []

    @property
    def waiting(self) -> bool:
        """Some text waits for what follows it."""
        return bool(self._text.strip())

    def ripe(self) -> list[str]:
        """What waits, if it reads as the end of a sentence: for when the text pauses, as it does
        while a model's tool runs. Otherwise nothing, and it goes on waiting."""
        rest = self._text.strip()
        stops = _ENDING.search(rest)
        if stops is None or not _ends(rest, 0, stops.start(), stops.end(), "A"):
            return []
        self._text, self._at, self._limits, self._retry = "", 0, _LATER, 0
        return [rest]

    def _end(self, text: str, start: int, at: int) -> tuple[int | None, int]:
        """Where the next sentence ends, if that is known, and how far there is no end before."""
        longest = self._limits[2]
        while True:
            mark = _MARK.search(text, at, start + longest + 1)
            if mark is None:
                at = max(at, min(len(text), start + longest + 1))
                if len(text) - start <= max(longest, self._retry):
                    return None, at
                end = _space(text, start, start + longest)
                if end is None:
                    # Not with every letter again: it is looked for in all that there is.
                    self._retry = min(2 * (len(text) - start), _HARD)
                return end, (at if end is None else end)
            at = mark.start()
            after = self._after(text, start, at)
            if after is None:
                return None, at
            end, at = after
            if end > start:
                return end, end

    def _after(self, text: str, start: int, at: int) -> tuple[int, int] | None:
        """Whether something ends with the mark at `at`: where, or `start`; and how far that was
        looked at. None: what follows must be known first."""
        mark = text[at]
        if mark == "\n":
            return (at + 1 if _WORD.search(text, start, at) else start), at + 1
        clause = mark in ":;,–—；：，、"
        wide = mark in "。！？；：，、"
        stops = None if clause else (_WIDE_STOPS if wide else _STOPS).match(text, at)
        end = at + 1 if stops is None else stops.end()
        if end == len(text):
            return None
        spaces = _SPACES.match(text, end)
        if spaces is None and not wide:
            return start, end
        after = end if spaces is None else spaces.end()
        if after == len(text) and after - end < _RUN:
            return None
        follows = text[after] if after < len(text) else "\n"
        if not _WORD.search(text, start, at):
            return start, end  # nothing that could be said: it goes with what follows
        if spaces is not None and "\n" in spaces.group():
            return after, after
        if clause:
            wanted = self._limits[1] if mark in ",，、" else self._limits[0]
            number = text[at - 1].isdigit() and follows.isdigit()
            return (after if at - start >= wanted and not number else start), end
        return (after if wide or _ends(text, start, at, end, follows) else start), end


def split(text: str) -> list[str]:
    """The sentences of a whole text; none is empty."""
    splitter = SentenceSplitter()
    return splitter.feed(text) + splitter.finish()


def speakable(text: str) -> bool:
    """Whether there is a letter or digit in it: a voice makes nothing, or nonsense, of the rest."""
    return _WORD.search(text) is not None


def _ends(text: str, start: int, at: int, end: int, follows: str) -> bool:
    """Whether the stops at `at` to `end`, before white space and then `follows`, end a sentence."""
    if follows.islower():
        return False
    if text[at:end].rstrip("'\"’”»›)]}") != ".":
        return True
    word = text[max(start, at - 24) : at].rsplit(None, 1)[-1].lstrip("'\"‘“„«‹([{¿¡").casefold()
    if word.isdigit():
        # "12. Mai", "1. First": an ordinal or a number of a list. A year is none.
        return len(word) > 3
    if word in _HALVES_OF_DAY:
        return True
    if len(word) == 1 and word.isalpha() and not _SPACELESS.match(word):
        return False
    if word in _BEFORE_NUMBERS and follows.isdigit():
        return False
    dotted = "." in word and all(len(part) <= 3 for part in word.split("."))
    return not (dotted and not any(c.isdigit() for c in word)) and word not in _ABBREVIATIONS


def _space(text: str, start: int, limit: int) -> int | None:
    """Where to cut what has no marks: before a space, or within a script that has none; best not
    beside a number, never within one. None: there is no such place yet."""
    for strict in (True, False):
        for at in range(limit, start, -1):
            if _fits(text, at, strict):
                return at
    stop = min(len(text), start + _HARD)
    for at in range(limit + 1, stop):
        if _fits(text, at, strict=False):
            return at
    return start + _HARD if len(text) - start > _HARD else None


def _fits(text: str, at: int, strict: bool) -> bool:
    before, after = text[at - 1], text[at]
    if after.isspace():
        following = text[at + 1] if at + 1 < len(text) else after
        if strict:
            return not (_numeric(before) or _numeric(following))
        return not (before.isdigit() and following.isdigit()) and not following.isspace()
    return bool(_SPACELESS.match(before) and _SPACELESS.match(after))


def _numeric(character: str) -> bool:
    return character.isdigit() or character in _NUMERIC
