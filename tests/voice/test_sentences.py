from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomkit.voice.sentences import SentenceSplitter, speakable, split


def pieces_of(text: str, sizes: random.Random) -> list[str]:
    pieces, at = [], 0
    while at < len(text):
        size = sizes.choice([1, 1, 2, 3, 7, 50])
        pieces.append(text[at : at + size])
        at += size
    return pieces


def streamed(pieces: list[str]) -> list[str]:
    splitter = SentenceSplitter()
    return [s for piece in pieces for s in splitter.feed(piece)] + splitter.finish()


def squeezed(texts: list[str]) -> str:
    return "".join("".join(texts).split())


CUT = [
    ["Hello.", "How are you?", "Fine!"],
    ["Really?!", "Yes."],
    ['He said: "No."', "Then he left."],
    ["(That is all.)", "Next one."],
    ["Wait…", "Then go on."],
    ["So... what is it?", "Nothing."],
    ["It was 1998.", "We were young."],
    ["We meet at 5 p.m.", "Be there."],
    ["No.", "I mean it."],
    ["¿Qué tal?", "¡Muy bien!", "Gracias."],
    ["「はい。」", "そうです。", "行きましょう！", "元気？", "うん"],
    ["你好。", "今天天气很好！", "我们走吧。"],
    ["First line", "Second line", "Third line."],
    ["Привет.", "Как дела?", "Хорошо."],
    ["यह अच्छा है।", "हाँ।"],
    ["Das ist gut!", "Und weiter."],
    ["Hello!", "👋 How are you?"],
    ["OK.", "42 is the answer."],
]

WHOLE = [
    "It costs $3.50 today.",
    "Das macht 1.000,50 € im Monat.",
    "Wir sehen uns am 12. Mai im Büro.",
    "Es ist der 3. Oktober 1990.",
    "It is 3.5 km to the station.",
    "Bring fruit, e.g. Apples or pears.",
    "Ask Dr. Smith about it.",
    "Ask Prof. Dr. J. R. Müller.",
    "See www.x.y for details.",
    "Write to me@example.com now.",
    "We open at 10:30 every day.",
    "Herr Müller, z. B. Hans, z.B. Fritz, kommt.",
    "The U.S. President spoke.",
    "Take No. 5 or Nr. 7.",
    "1. First item",
    "Mme. Dupont et M. Durand arrivent.",
    "El Sr. García y la Sra. López.",
    "Version 2.0.1 is out.",
    "Pi is 3.14159, more or less.",
    "We have approx. five of them.",
    "Add 1,000,000 to it.",
    "Choose 1, 2, 3 or 4 and then press the key with the hash sign on it.",
    "Call +49 30 123 45 67 now.",
    "Yahoo! is a company.",
    '"What?" he asked.',
    "Ca. 30 Mio. Euro.",
]


@pytest.mark.parametrize("sentences", CUT, ids=lambda s: s[0])
def test_sentences_are_told_apart(sentences: list[str]) -> None:
    joiner = "" if any(c in "".join(sentences) for c in "。！") else " "
    if sentences[0] == "First line":
        joiner = "\n"
    text = joiner.join(sentences)
    assert split(text) == sentences
    assert streamed(list(text)) == sentences


@pytest.mark.parametrize("text", WHOLE)
def test_what_belongs_together_is_not_cut(text: str) -> None:
    assert split(text) == [text]
    assert streamed(list(text)) == [text]
    assert split(f"{text} Then go on.") in ([text, "Then go on."], [f"{text} Then go on."])


def test_a_list_keeps_its_numbers() -> None:
    text = "You can:\n1. Pay now\n2. Pay later.\n10. Talk to us"
    assert split(text) == ["You can:", "1. Pay now", "2. Pay later.", "10. Talk to us"]


def test_a_sentence_comes_with_the_first_letter_of_the_next() -> None:
    splitter = SentenceSplitter()
    assert splitter.feed("Hello. ") == []
    assert splitter.feed("H") == ["Hello."]
    assert splitter.feed("i。") == []
    assert splitter.feed("」") == []
    assert splitter.feed("x") == ["Hi。」"]
    assert splitter.finish() == ["x"]
    assert splitter.feed("Again. A") == ["Again."]


def test_the_first_piece_may_end_at_a_clause() -> None:
    long = (
        "Thank you very much for calling us today, I will look up your order right away, and then"
    )
    assert split(f"{long} {long}.")[0] == "Thank you very much for calling us today,"
    later = split(f"Hello. {long}.")
    assert later == ["Hello.", f"{long}."]


@pytest.mark.parametrize("text", ["", " ", "\n\n \t", " " * 10_000, "\n" * 10_000])
def test_nothing_is_no_sentence(text: str) -> None:
    assert split(text) == []
    assert streamed(list(text[:1000])) == []


@pytest.mark.parametrize("text", ["👋", "…", "!!!", "👋 👋 👋", "- - -"])
def test_what_cannot_be_said_is_one_piece_and_says_so(text: str) -> None:
    assert split(text) == [text]
    assert not speakable(text)
    assert speakable(f"{text} a")


LONG = {
    "sentences": "This is the sentence that we say again. " * 6500,
    "no punctuation": "word " * 10_000,
    "one word": "a" * 60_000,
    "digits": "1234567890" * 6000,
    "numbers": "12 345 678 " * 5000,
    "chinese": "汉" * 20_000,
    "dots": "." * 60_000,
    "spaces": "a" + " " * 60_000 + "b",
    "newlines": "a\n" * 20_000,
    "points and spaces": ". " * 20_000,
    "initials": "J. " * 20_000,
    "emoji": "👋" * 20_000,
    "commas": "a, " * 20_000,
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("size", [1, 7, 10**9])
def test_long_texts_take_linear_time_and_bounded_memory(name: str, size: int) -> None:
    text = LONG[name]
    splitter = SentenceSplitter()
    found: list[str] = []
    began = time.process_time()
    for at in range(0, len(text), size):
        found += splitter.feed(text[at : at + size])
        assert len(splitter._text) <= 2200
    found += splitter.finish()
    # A quadratic one takes minutes.
    assert time.process_time() - began < 10
    assert squeezed(found) == squeezed([text])
    assert max(map(len, found)) <= 2000


def test_without_marks_it_is_cut_between_words_and_not_within_numbers() -> None:
    dice = random.Random(5)
    words = [dice.choice(["word", "3.50", "€", "1 000 000", "km", "$5"]) for _ in range(5000)]
    text = " ".join(words)
    found = split(text)
    assert " ".join(found) == text
    assert max(map(len, found)) <= 400
    assert len(found[0]) <= 120
    for before, after in pairwise(found):
        assert not (before[-1].isdigit() and after[0].isdigit())


ALPHABET = st.sampled_from(
    [*"aB1 .,!?…:;\n\t'\"()。！「」漢字ñ👋$€-", ". ", "? ", "Dr. ", "e.g. ", " 3.5 ", " A"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ALPHABET, max_size=400).map("".join), st.randoms(use_true_random=False))
def test_nothing_is_lost_however_it_comes(text: str, dice: random.Random) -> None:
    whole = split(text)
    assert squeezed(whole) == squeezed([text])
    assert all(s and s == s.strip() for s in whole)
    assert streamed(pieces_of(text, dice)) == whole


@pytest.mark.parametrize("piece", [None, 3, b"x"])
def test_a_piece_that_is_no_text(piece: object) -> None:
    with pytest.raises(TypeError, match="piece: .*; a str fits"):
        SentenceSplitter().feed(piece)  # type: ignore[arg-type]
