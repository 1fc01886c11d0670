"""Wrong arguments say what is wrong and what would be right, and nothing is opened for them."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from roomkit import cli
from roomkit.cli import arguments, speech, wav

REMOTE = ("--remote", "192.0.2.10:20000")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ((), "COMMAND"),
        (("dial",), "choose from"),
        (("call",), "required: --remote"),
        (("call", "--remote", "192.0.2.10"), "HOST:PORT is expected, such as 192.0.2.10:20000"),
        (("call", "--remote", ":20000"), "HOST:PORT is expected"),
        (("call", "--remote", "192.0.2.10:"), "a number from 1 to 65534"),
        (("call", "--remote", "192.0.2.10:0"), "a number from 1 to 65534"),
        (("call", "--remote", "192.0.2.10:65535"), "a number from 1 to 65534"),
        (("call", "--remote", "::1:20000"), "in brackets, such as [2001:db8::1]:20000"),
        (
            ("call", *REMOTE, "--dtmf", "12x"),
            "'X' is no key; 0-9, *, # and A-D are, and a comma pauses",
        ),
        (("call", *REMOTE, "--dtmf", ""), "at least one of"),
        (("call", *REMOTE, "--play", "nowhere.wav"), "nowhere.wav: No such file"),
        (("call", *REMOTE, "--record", "nowhere/out.wav"), "there is no folder 'nowhere'"),
        (("call", *REMOTE, "--record", "."), "that is a folder"),
        (("call", *REMOTE, "--seconds", "0"), "more than 0"),
        (("call", *REMOTE, "--seconds", "nan"), "more than 0"),
        (("call", *REMOTE, "--codec", "G729"), "PCMU, PCMA, G722, opus, or L16/RATE"),
        (("sdp",), "required: FILE"),
        (("call", *REMOTE, "--codec", "opus/8000"), "opus is 48000 Hz"),
        (("call", *REMOTE, "--preset", "cisco"), "asterisk-external-media"),
        (("call", *REMOTE, "--codec", "L16"), "such as L16/16000"),
        (("call", *REMOTE, "--codec", "L16/12345"), "16000, 22050, 24000"),
        (("call", *REMOTE, "--codec", "L16/16000/3"), "channels"),
        (("call", *REMOTE, "--codec", "PCMU@96x"), "as digits"),
        (("call", *REMOTE, "--codec", "L16/16000@8"), "payload_type"),
        (("serve", "--app", "chat"), "echo, parrot, menu or package.module:function is expected"),
        (("serve", "--app", "no_such_module:run"), "there is no module 'no_such_module'"),
        (("serve", "--app", "json:nothing"), "json has no 'nothing'"),
        (("serve", "--app", "json:dumps"), "dumps is not async; `async def dumps(call)` fits"),
        (("serve", "--app", "asyncio:sleep_"), "asyncio has no 'sleep_'"),
        (("serve", "--app", "asyncio:open_unix_connection:x"), "has no"),
        (("demo", "--loss", "60"), "a percentage from 0 to 50"),
        (("demo", "--loss", "much"), "a percentage from 0 to 50"),
        (("demo", "--codec", "L16/16000"), "PCMU, PCMA or L16/8000 is expected"),
    ],
)
def test_a_wrong_argument_ends_with_2_and_says_what_would_be_right(
    argv: Sequence[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_addresses_of_every_kind() -> None:
    assert arguments.address("192.0.2.10:20000") == ("192.0.2.10", 20000)
    assert arguments.address("pbx.example.org:1") == ("pbx.example.org", 1)
    assert arguments.address("[2001:db8::1]:65534") == ("2001:db8::1", 65534)
    assert arguments.local_address("0.0.0.0:0") == ("0.0.0.0", 0)


@pytest.mark.parametrize(
    ("text", "name", "payload_type", "rate", "channels"),
    [
        ("PCMU", "PCMU", 0, 8000, 1),
        ("pcma", "PCMA", 8, 8000, 1),
        ("PCMA@96", "PCMA", 96, 8000, 1),
        ("L16/16000", "L16", 96, 16000, 1),
        ("L16/44100", "L16", 11, 44100, 1),
        ("g722", "G722", 9, 8000, 1),
        ("Opus", "opus", 111, 48000, 2),
        ("opus@107", "opus", 107, 48000, 2),
        ("l16/44100/2", "L16", 10, 44100, 2),
        ("L16/48000/2@118", "L16", 118, 48000, 2),
    ],
)
def test_codecs_of_every_kind(
    text: str, name: str, payload_type: int, rate: int, channels: int
) -> None:
    codec = arguments.codec(text)
    assert (codec.name, codec.payload_type) == (name, payload_type)
    assert (codec.clock_rate, codec.channels) == (rate, channels)


def test_the_steps_of_a_call_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.wav"
    wav.write(path, speech.clip("stop").samples, 8000)
    seen: list[argparse.Namespace] = []

    def run(options: argparse.Namespace) -> int:
        seen.append(options)
        return 7

    command = ModuleType("roomkit.cli.call")
    command.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "roomkit.cli.call", command)
    steps = ("--wait", "2", "--dtmf", "1a", "--play", str(path), "--dtmf", "#")
    assert cli.main(("call", *REMOTE, *steps)) == 7
    (options,) = seen
    assert options.script == [
        ("wait", 2.0),
        ("dtmf", "1A"),
        ("play", speech.clip("stop")),
        ("dtmf", "#"),
    ]
    assert options.codec.name == "PCMU"


def test_an_application_of_one_s_own_is_found_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_ivr_app.py").write_text(
        "async def answer(call):\n    pass\n\n\nasync def two(call, more):\n    pass\n\n\n"
        "class Ivr:\n    async def __call__(self, call):\n        pass\n\n\nivr = Ivr()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert arguments.app("my_ivr_app:answer").__name__ == "answer"
    assert type(arguments.app("my_ivr_app:ivr")).__name__ == "Ivr"
    with pytest.raises(argparse.ArgumentTypeError, match="two must take \\(call\\)"):
        arguments.app("my_ivr_app:two")
    sys.modules.pop("my_ivr_app")


def test_an_application_that_does_not_import_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_ivr_app.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(argparse.ArgumentTypeError, match="ZeroDivisionError"):
        arguments.app("broken_ivr_app:answer")


def test_help_and_mistakes_load_neither_media_nor_asyncio() -> None:
    code = (
        "import sys\n"
        "from roomkit import cli\n"
        "try:\n"
        "    cli.main(['call', '--remote', 'x'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print(sorted({'asyncio', 'rich', 'roomkit._native'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"
