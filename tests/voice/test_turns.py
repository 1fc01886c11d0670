from __future__ import annotations

import math
from typing import Any

import pytest

from roomkit.voice.turns import (
    BACK_CHANNELS,
    BargeIn,
    Turns,
    count_words,
    is_back_channel,
)

BACK = [
    "mm-hm",
    "Mm-hmm.",
    "Mmmmm…",
    "mhm",
    "uh-huh",
    "Uh huh",
    "Hmmm?",
    "Okay.",
    "OK",
    "Oh, okay",
    "Yeah, yeah, right.",
    "I see.",
    "Yeah. Got it.",
    "Genau!",
    "Ja, ja.",
    "ach so",
    "Alles klar",
    "Oui oui",
    "d'accord",
    "d’accord",
    "Bien sûr.",
    "Sí.",
    "SÍ",
    "Vale, vale",
    "Certo",
    "va bene",
    "sim, tá",
    "Oké",
    "Да-да",
    "Ага",
    "понятно",
    "Evet, tamam",
    "嗯",
    "嗯嗯嗯",
    "对对",
    "好的。",
    "はい",
    "そうですね。",
    "네",
]
MEANT = [
    "",
    "...",
    "?!",
    "no",
    "No, no.",
    "stop",
    "okay stop",
    "yes but",
    "Mm-hm, what about Tuesday?",
    "okay okay okay okay",
    "nein",
    "Ja, aber",
    "non",
    "no gracias",
    "нет",
    "不",
    "不是",
    "いいえ",
    "아니요",
    "42",
    "x" * 10_000,
    "okay " * 10_000,
]


@pytest.mark.parametrize("text", BACK)
def test_a_back_channel_in_any_spelling(text: str) -> None:
    assert is_back_channel(text)
    assert BargeIn().is_back_channel(text)


@pytest.mark.parametrize("text", MEANT)
def test_what_wants_the_word_is_none(text: str) -> None:
    assert not is_back_channel(text)


def test_back_channels_can_be_given() -> None:
    own = BargeIn(back_channels=frozenset({"Roger that"}))
    assert own.is_back_channel("roger THAT!")
    assert not own.is_back_channel("okay")
    assert not BargeIn(back_channels=frozenset()).is_back_channel("okay")
    listed: Any = ["a", "b"]
    assert BargeIn(back_channels=listed).back_channels == frozenset({"a", "b"})


def test_every_built_in_one_is_one() -> None:
    for phrase in BACK_CHANNELS:
        assert is_back_channel(phrase), phrase


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("... — ?!", 0),
        ("one", 1),
        ("it's 3.50", 3),
        ("d’accord, mon ami", 3),
        ("Größe", 1),
        ("你好", 2),
        ("東京タワー", 5),
        ("안녕 하세요", 2),
        ("👋", 0),
    ],
)
def test_words_are_counted(text: str, words: int) -> None:
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"silence_ms": -1}, "silence_ms: -1; 0 to 60000 ms fits"),
        ({"silence_ms": "600"}, "silence_ms: '600'; 0 to 60000 ms fits"),
        ({"silence_ms": True}, "silence_ms: True"),
        ({"silence_ms": math.nan}, "silence_ms: nan"),
        ({"max_silence_ms": math.inf}, "max_silence_ms: inf"),
        (
            {"silence_ms": 200},
            r"silence_ms: 200; 300 \(min_silence_ms\) to 1500 \(max_silence_ms\) fits",
        ),
        ({"min_silence_ms": 700}, "silence_ms: 600; 700"),
        ({"adaptive": 1}, "adaptive: 1; True or False fits"),
        ({"longest_ms": 10}, "longest_ms: 10; 1000 to 3600000 ms fits"),
        ({"text_within_ms": None}, "text_within_ms: None"),
    ],
)
def test_turns_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Turns(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "maybe"}, "mode: 'maybe'; 'immediate', 'confirmed', 'words' or 'off' fits"),
        ({"after_ms": -1}, "after_ms: -1; 0 to 60000 ms fits"),
        ({"words": 0}, "words: 0; an int of 1 or more fits"),
        ({"words": 1.5}, "words: 1.5"),
        ({"words": True}, "words: True"),
        ({"pause": "yes"}, "pause: 'yes'; True or False fits"),
        ({"resume_after_ms": math.nan}, "resume_after_ms: nan"),
        ({"longest_pause_ms": "x"}, "longest_pause_ms: 'x'"),
        ({"back_channels": "okay"}, "back_channels: 'okay'; a set of str or None fits"),
        ({"back_channels": 7}, "back_channels: 7"),
        ({"back_channels": {"okay", "!"}}, "back_channels: '!'; a str with a word fits"),
        ({"back_channels": [3]}, "back_channels: 3"),
    ],
)
def test_a_barge_in_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BargeIn(**settings)


def test_a_detector_that_is_none() -> None:
    with pytest.raises(TypeError, match="detector: 7; a TurnDetector or None fits"):
        Turns(detector=7)  # type: ignore[arg-type]


def test_the_built_in_rule_goes_by_the_longest_pause_but_one() -> None:
    turns = Turns()
    assert turns.builtin_silence_ms(()) == 600
    assert turns.builtin_silence_ms((900, 900)) == 600, "two pauses are too few to know him by"
    assert turns.builtin_silence_ms((400, 500, 2000)) == 675
    assert turns.builtin_silence_ms((100, 120, 140)) == 300
    assert turns.builtin_silence_ms((1400,) * 12) == 1500
    assert Turns(adaptive=False).builtin_silence_ms((1400,) * 12) == 600
