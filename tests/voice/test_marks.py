from __future__ import annotations

import math
import random
from array import array
from bisect import bisect_right
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomkit.voice._alignment import Units
from roomkit.voice.base import Mark, PathDelay, PlaybackPosition
from roomkit.voice.marks import UNKNOWN_PATH, Heard, HeardText
from support import espeak


def worded(text: str, word_ms: float = 300.0, gap_ms: float = 0.0) -> Heard:
    """Each word of `text` said in `word_ms`, with marks."""
    heard = Heard(text)
    words = text.split()
    for n, word in enumerate(words):
        at = n * (word_ms + gap_ms)
        heard.add_mark(Mark(word, 0.0, word_ms), at)
    heard.end(len(words) * (word_ms + gap_ms))
    return heard


def tone(spans: list[tuple[float, bool]], rate: int = 8000) -> bytes:
    """Audio that is loud or silent for so many ms."""
    samples = array("h")
    for length_ms, loud in spans:
        count = int(length_ms * rate / 1000)
        samples.extend([6000, -6000] * (count // 2) if loud else [3] * count)
    return samples.tobytes()


# Marks of words


def test_whole_words_are_heard_as_they_are_written() -> None:
    text = '  Hello, "dear"  friend — it is 3.50 €!'
    heard = worded(text)
    assert heard.at(0).text == ""
    assert heard.at(149).text == ""
    assert heard.at(150).text == "  Hello,"
    assert heard.at(700).text == '  Hello, "dear"'
    assert heard.at(800).text == '  Hello, "dear"  friend —'
    assert heard.at(99_999).text == text


def test_of_a_word_that_is_cut_both_is_possible() -> None:
    heard = worded("one two three four")
    now = heard.at(700)
    assert (now.text, now.certain_to, now.possible_to) == ("one two", 7, 13)
    now = heard.at(800)
    assert (now.text, now.certain_to, now.possible_to) == ("one two three", 7, 13)
    now = heard.at(600)
    assert (now.text, now.certain_to, now.possible_to) == ("one two", 7, 7)


def test_a_word_without_an_end_lasts_until_the_next() -> None:
    heard = Heard("one two three")
    for word, at in [("one", 100), ("two", 500), ("three", 900)]:
        heard.add_mark(Mark(word, float(at)), 0.0)
    heard.end(1300)
    assert [heard.at(t).text for t in (99, 299, 300, 699, 700, 1099, 1100)] == [
        "",
        "",
        "one",
        "one",
        "one two",
        "one two",
        "one two three",
    ]


def test_marks_come_with_their_chunks_and_in_any_order() -> None:
    heard = Heard("one two three")
    heard.add_mark(Mark("three", 0.0, 100.0), 1000.0)
    heard.add_mark(Mark("one", 50.0, 200.0), 0.0)
    heard.add_mark(Mark("two", 100.0, 300.0), 400.0)
    assert heard.at(700).text == "one two"


OTHERWISE = [
    ("I have 5 dogs.", ["I", "have", "five", "dogs"]),
    ("It costs $3.50 now", ["It", "costs", "three dollars fifty", "now"]),
    ("Mr. Smith isn’t here", ["mister", "SMITH", "isn't", "here"]),
    ("on 12/05 at 10:30 sharp", ["on", "the twelfth of May", "at", "half past ten", "sharp"]),
]


@pytest.mark.parametrize(("text", "marks"), OTHERWISE, ids=lambda v: str(v)[:20])
def test_marks_may_be_written_otherwise(text: str, marks: list[str]) -> None:
    heard = Heard(text)
    for n, mark in enumerate(marks):
        heard.add_mark(Mark(mark, n * 300.0, n * 300.0 + 300.0), 0.0)
    heard.end(len(marks) * 300.0)
    words = text.split()
    for n in range(len(words) + 1):
        assert heard.at(n * 300.0).text.split() == words[:n]


def test_more_marks_than_words_are_of_one_word() -> None:
    heard = Heard("about 3.50 euros")
    for n, mark in enumerate(["about", "3", ".50", ".50", "euros"]):
        heard.add_mark(Mark(mark, n * 100.0), 0.0)
    heard.end(500)
    assert heard.at(240).text == "about"
    assert heard.at(260).text == "about 3.50"
    assert heard.at(440).text == "about 3.50"
    assert heard.at(450).text == "about 3.50 euros"


def test_characters_of_scripts_without_spaces_are_words() -> None:
    heard = Heard("你好。今天")
    for n, mark in enumerate("你好今天"):
        heard.add_mark(Mark(mark, n * 200.0, n * 200.0 + 200), 0.0)
    assert [heard.at(t).text for t in (200, 400, 600, 800)] == [
        "你",
        "你好。",
        "你好。今",
        "你好。今天",
    ]


def test_what_was_not_spoken_yet_is_not_heard() -> None:
    heard = Heard("One sentence is spoken. Another waits.")
    heard.add_mark(Mark("One sentence is spoken.", 0.0), 0.0)
    heard.add_audio(tone([(2000, True)]), 8000)
    now = heard.at(2000)
    assert now.text == "One sentence is spoken."
    assert now.possible_to == len(now.text)
    assert not now.whole


# Marks of sentences


def test_within_a_sentence_silence_holds_no_words() -> None:
    text = "aaaa bbbb cccc dddd"
    heard = Heard(text)
    heard.add_mark(Mark(text, 0.0), 0.0)
    for chunk in (tone([(500, False), (400, True)]), tone([(1000, False), (400, True)])):
        heard.add_audio(chunk, 8000)
    heard.end()
    assert heard.at(500).text == ""
    assert heard.at(890).text == "aaaa bbbb"
    assert heard.at(1890).text == "aaaa bbbb"
    assert heard.at(2300).text == text
    assert (heard.at(890).certain_to, heard.at(890).possible_to) == (0, len(text))
    assert heard.at(2300).certain_to == len(text)


def test_audio_may_be_cut_anywhere() -> None:
    pcm = tone([(300, False), (333, True), (200, False), (777, True)], 16000)
    whole, pieces = Heard("a b c d"), Heard("a b c d")
    whole.add_audio(pcm, 16000)
    dice, at = random.Random(3), 0
    while at < len(pcm):
        size = dice.choice([1, 2, 3, 40, 999])
        pieces.add_audio(pcm[at : at + size], 16000)
        at += size
    whole.end()
    pieces.end()
    assert list(whole._levels) == list(pieces._levels)
    assert [whole.at(t) for t in range(0, 1700, 10)] == [pieces.at(t) for t in range(0, 1700, 10)]


SENTENCES = {
    "en": [
        "Thank you for calling, how can I help you today?",
        "Your appointment is on Thursday the 12th of May at 10:30, and takes forty minutes.",
        "We have three rooms left; the largest one costs 129.50 per night, breakfast included.",
        "I am sorry to hear that.",
        "Please hold the line while I look for your order in our system.",
        "The flight leaves from gate seven, and boarding starts at half past six.",
        "Good morning, this is the surgery, unfortunately all of our lines are busy.",
        "You can return the goods within fourteen days, as long as they are unopened.",
        "I did not understand that, would you say it again?",
    ],
    "de": [
        "Vielen Dank für Ihren Anruf, wie kann ich Ihnen helfen?",
        "Ihr Termin ist am Donnerstag, dem 12. Mai, um halb elf, und dauert etwa eine Stunde.",
        "Leider habe ich dazu keine Informationen gefunden.",
        "Wir haben Ihre Nachricht erhalten und melden uns morgen Vormittag bei Ihnen.",
    ],
    "fr": [
        "Merci de votre appel, comment puis-je vous aider?",
        "Votre rendez-vous est fixé au jeudi 12 mai, à dix heures et demie.",
        "Je vous mets en relation avec un collègue du service commercial.",
    ],
    "es": [
        "Gracias por llamar, ¿en qué puedo ayudarle hoy?",
        "Le paso con un compañero del departamento de ventas, no cuelgue por favor.",
        "La tienda abre a las nueve de la mañana y cierra a las ocho.",
    ],
}


@pytest.mark.skipif(not espeak.available(), reason="no libespeak-ng: apt install libespeak-ng1")
def test_within_a_sentence_a_voice_is_followed_to_the_word() -> None:
    off: list[int] = []
    for language, texts in SENTENCES.items():
        for text in texts:
            for speed in (130, 160, 200):
                said = espeak.say(text, language, speed)
                units = Units(text)
                edges = [units.end(n) for n in range(1, len(units) + 1)]
                starts: dict[int, float] = {}
                for begin, _, at_ms in said.words:
                    starts.setdefault(min(bisect_right(edges, begin), len(units) - 1), at_ms)
                if len(starts) != len(units):
                    continue  # two words in one breath: no time is known for each
                times = [*sorted(starts.values()), said.duration_ms]
                heard = Heard(text)
                heard.add_mark(Mark(text, 0.0), 0.0)
                heard.add_audio(said.pcm, said.rate)
                heard.end()
                for n in range(50):
                    at_ms = said.duration_ms * n / 50
                    true = sum((a + b) / 2 <= at_ms for a, b in pairwise(times))
                    now = heard.at(at_ms)
                    off.append(len(Units(now.text)) - true)
                    assert now.certain_to <= units.end(sum(b <= at_ms for b in times[1:]))
                    assert now.possible_to >= units.end(sum(a < at_ms for a in times[:-1]))
    wrong = sum(abs(words) > 1 for words in off)
    print(f"{len(off)} interruptions: {sum(map(bool, off))} one word off, {wrong} more")
    assert len(off) > 2000
    assert wrong <= len(off) * 0.002
    assert max(map(abs, off)) <= 2


# Where he is


def position(
    played_ms: float, at: float | None = 100.0, over: bool = False, cancelled: bool = False
) -> PlaybackPosition:
    """Of what left without a pause, in packets of 20 ms."""
    started_at = None if at is None else at - (played_ms - 20) / 1000
    return PlaybackPosition(1, played_ms, started_at, at, over, cancelled)


def test_what_has_left_is_on_its_way() -> None:
    heard = worded("one two three four five six")
    path = PathDelay(40, 100, 160)
    now = heard.up_to(position(1000), 100.0, path)
    assert (now.certain_ms, now.heard_ms, now.possible_ms) == pytest.approx((820, 880, 960))
    assert now.text == "one two three"
    # Nothing more left, and all of it has arrived.
    now = heard.up_to(position(1000), 100.180, path)
    assert (now.certain_ms, now.heard_ms, now.possible_ms) == (1000, 1000, 1000)
    assert not now.whole


def test_in_the_end_all_that_left_is_heard() -> None:
    heard = worded("one two three four five six")
    now = heard.in_the_end(position(1200, over=True, cancelled=True))
    assert (now.text, now.certain_to, now.possible_to) == ("one two three four", 13, 18)
    assert (now.certain_ms, now.heard_ms, now.possible_ms) == (1140, 1200, 1200)
    assert not now.whole
    assert heard.in_the_end(position(1200)).possible_ms == 1220


def test_what_was_played_to_its_end_is_heard_whole() -> None:
    heard = worded("one two three ")
    done = position(900, over=True)
    assert heard.in_the_end(done) == HeardText("one two three ", 14, 14, 900, 900, 900, whole=True)
    path = PathDelay(40, 100, 160)
    assert not heard.up_to(done, 100.1, path).whole
    assert heard.up_to(done, 100.2, path).whole
    failed = Heard("one two three")
    failed.add_mark(Mark("one", 0.0), 0.0)
    assert not failed.in_the_end(done).whole, "the voice did not say that it had finished"


def test_nothing_has_left() -> None:
    heard = worded("one two")
    for now in (
        heard.up_to(position(0, at=None), 100.0, None),
        heard.in_the_end(position(0, over=True, cancelled=True)),
    ):
        assert (now.text, now.certain_to, now.possible_to, now.heard_ms) == ("", 0, 0, 0)


def test_without_a_path_the_bounds_are_wide() -> None:
    now = worded("one two three four five six").up_to(position(1500), 100.0, None)
    assert now.certain_ms == pytest.approx(1500 - UNKNOWN_PATH.most_ms - 20)
    assert now.possible_ms == 1500


def test_the_bounds_hold_whatever_the_path_does() -> None:
    """A far end that plays what it gets, with any delay within what is known, and pauses."""
    for seed in range(300):
        dice = random.Random(seed)
        least = dice.uniform(0, 150)
        most = least + dice.uniform(0, 200)
        delay_ms = dice.uniform(least, most)
        path = PathDelay(least, dice.uniform(least, most), most)
        words = [dice.choice(["a", "be", "see", "delta"]) for _ in range(dice.randrange(1, 30))]
        text = " ".join(words)
        heard = Heard(text)
        spans, at_ms = [], 0.0
        for word in words:
            at_ms += dice.choice([0, 0, 50])
            spans.append((at_ms, at_ms + dice.uniform(80, 500)))
            heard.add_mark(Mark(word, 0.0, spans[-1][1] - spans[-1][0]), at_ms)
            at_ms = spans[-1][1]
        heard.end(at_ms)
        # Packets of 20 ms, with a pause somewhere.
        sent, clock = [], 0.0
        pause_at = dice.randrange(0, 100)
        for n in range(dice.randrange(1, int(at_ms / 20) + 2)):
            clock += 20 + (dice.uniform(0, 800) if n == pause_at else 0)
            sent.append(clock)
        stop_ms = sent[-1]
        for now_ms in (stop_ms, stop_ms + dice.uniform(0, 400)):
            played_ms = len(sent) * 20.0
            true_ms = sum(min(20.0, max(0.0, now_ms - at - delay_ms)) for at in sent)
            here = PlaybackPosition(1, played_ms, sent[0] / 1000, stop_ms / 1000, True, True)
            now = heard.up_to(here, now_ms / 1000, path)
            assert now.certain_ms - 1e-6 <= true_ms <= now.possible_ms + 1e-6
            ends = Units(text)
            wholly = ends.end(sum(end <= true_ms for _, end in spans))
            begun = ends.end(sum(start < true_ms for start, _ in spans))
            assert now.certain_to <= wholly
            assert begun <= now.possible_to
            end = heard.in_the_end(here)
            assert end.heard_ms == played_ms


TEXTS = st.text(alphabet=st.sampled_from("ab5 .,-'é漢字\n€👋"), max_size=60)
TIMES = st.floats(0, 1e5)


@settings(max_examples=300, deadline=None)
@given(
    TEXTS,
    st.lists(st.tuples(TEXTS, TIMES, st.none() | TIMES), max_size=20),
    st.floats(0, 1e5),
    st.integers(0, 5000),
    st.booleans(),
)
def test_any_marks_give_a_beginning_of_the_text(
    text: str,
    marks: list[tuple[str, float, float | None]],
    at_ms: float,
    audio: int,
    ended: bool,
) -> None:
    heard = Heard(text)
    for said, offset_ms, length_ms in marks:
        end_ms = None if length_ms is None else offset_ms + length_ms
        heard.add_mark(Mark(said, offset_ms, end_ms), 0.0)
    heard.add_audio(b"\x10\x20" * audio, 8000)
    if ended:
        heard.end()
    before = 0
    for time_ms in (0.0, at_ms / 2, at_ms, at_ms * 2):
        now = heard.at(time_ms, time_ms - 100, time_ms + 100)
        assert text.startswith(now.text)
        assert now.certain_to <= len(now.text) <= now.possible_to <= len(text)
        assert len(now.text) >= before
        before = len(now.text)


def test_a_long_answer_is_placed_in_no_time() -> None:
    dice = random.Random(1)
    words = [dice.choice(["alpha", "beta", "gamma", "5", "delta"]) for _ in range(50_000)]
    heard = Heard(" ".join(words))
    for n, word in enumerate(words):
        heard.add_mark(Mark("five" if word == "5" else word, n * 300.0), 0.0)
    heard.end(len(words) * 300.0)
    now = heard.at(300.0 * 25_000)
    assert now.text.split() == words[:25_000]
    assert math.isclose(now.heard_ms, 7.5e6)
