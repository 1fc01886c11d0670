"""What the model is asked about, and what not."""

from __future__ import annotations

from interop.peers import oracle
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad import VADEvent, VADEventType
from roomkit.voice.vad.activity import ActivitySettings

np = oracle("numpy", "pip install 'roomkit[vad]'")

from roomkit.voice.vad.lines import Line, Samples, ask  # noqa: E402

QUIET, LOUD = 100, 8000


class Model:
    """Speech is what is loud. It keeps what it was asked, and counts in its state."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, windows: Samples, states: Samples) -> tuple[Samples, Samples]:
        self.asked.append([round(float(row[32]) * 32768) for row in windows])
        return (np.abs(windows[:, 32]) > 0.2).astype(np.float32), states + 1


def hear(model: Model, lines: list[Line], *values: int) -> list[VADEvent | None]:
    """One window of each line, of that value throughout."""
    rows = []
    for line, value in zip(lines, values, strict=True):
        pcm = np.full(256, value, "<i2").tobytes()
        rows += list(line.windows.cut(AudioFrame(pcm, 8000)))
    return ask(model, lines, rows)


def lines(count: int) -> list[Line]:
    return [Line(ActivitySettings(0.5, 0.35, 0, 64)) for _ in range(count)]


def test_a_steady_background_is_left_out_until_something_rises() -> None:
    model, [line] = Model(), lines(1)
    for value in range(QUIET, QUIET + 20):
        hear(model, [line], value)
    assert model.asked == [[value] for value in range(QUIET, QUIET + 8)]
    [event] = hear(model, [line], LOUD)
    assert event is not None
    assert event.type is VADEventType.SPEECH_START
    # The eight windows before it come first, the oldest before the others.
    assert model.asked[8:] == [*([value] for value in range(QUIET + 12, QUIET + 20)), [LOUD]]
    assert line.state[0, 0] == 17
    assert not line.left_out
    # While somebody speaks, nothing is left out.
    assert [hear(model, [line], QUIET)[0] is None for _ in range(2)] == [True, False]
    assert model.asked[17:] == [[QUIET]] * 2


def test_each_line_looks_back_on_its_own() -> None:
    model, [one, other] = Model(), lines(2)
    for _ in range(9):
        hear(model, [one], QUIET)
    hear(model, [one], QUIET + 1)
    model.asked.clear()
    assert [event is None for event in hear(model, [one, other], LOUD, LOUD)] == [False, False]
    assert model.asked == [[QUIET], [QUIET + 1], [LOUD, LOUD]]
    model.asked.clear()
    hear(model, [one, other], QUIET, LOUD + 1)
    assert model.asked == [[QUIET, LOUD + 1]]


def test_a_rise_of_a_decibel_is_looked_at() -> None:
    for rise_db, looked_at in ((0.9, False), (1.1, True)):
        model, [line] = Model(), lines(1)
        for _ in range(40):
            hear(model, [line], 1000)
        model.asked.clear()
        hear(model, [line], round(1000 * 10 ** (rise_db / 20)))
        assert bool(model.asked) is looked_at
