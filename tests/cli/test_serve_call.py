"""`roomkit serve` and `roomkit call` against each other, as processes on loopback."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomkit.cli import g711, signals, speech, wav

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


def free_port() -> int:
    """An even UDP port that is free, with the odd one above it."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            if port % 2:
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
                try:
                    second.bind(("127.0.0.1", port + 1))
                except OSError:
                    continue
                return port


class Command:
    """`roomkit …` as a process; `started` when it has printed its first line."""

    def __init__(self, *argv: str, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "roomkit.cli", *argv, "--plain"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
        )
        assert self.process.stdout is not None
        _running.append(self.process)
        self.first = self.process.stdout.readline()

    def until(self, word: str) -> str:
        """Reads on until a line with that word."""
        assert self.process.stdout is not None
        while word not in (line := self.process.stdout.readline()):
            assert line, f"it ended without {word!r}: {self.process.communicate()[1]}"
        return line

    def finish(self, *, interrupt: bool = False) -> tuple[int, str, str]:
        if interrupt:
            self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=40)
        return self.process.returncode, out, err


_running: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """A test that fails half-way leaves no process behind."""
    yield
    while _running:
        process = _running.pop()
        if process.poll() is None:
            process.kill()
        process.communicate()


def clip_file(folder: Path, name: str) -> str:
    path = folder / f"{name}.wav"
    wav.write(path, speech.clip(name).samples, 8000)
    return str(path)


def assert_heard(path: Path, reference: array[int]) -> None:
    recording = wav.read(path).samples
    match = signals.find(reference, recording)
    assert match is not None
    result = signals.compare(reference, recording, match.offset)
    # Processes of a busy machine: a frame here and there may have come too late.
    assert result.equal >= 0.95 * (len(reference) // 160), result


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "L16/16000", "G722", "opus"])
def test_echo_sends_back_what_was_said_and_hears_the_digits(tmp_path: Path, codec: str) -> None:
    port = free_port()
    serve = Command("serve", "--local", f"127.0.0.1:{port}", "--app", "echo", "--codec", codec)
    assert f"echo on 127.0.0.1:{port} for whoever calls" in serve.first
    heard = tmp_path / "heard.wav"
    steps = ("--dtmf", "1,2#", "--play", clip_file(tmp_path, "stop"), "--dtmf", "d")
    remote = ("--remote", f"127.0.0.1:{port}", "--codec", codec)
    call = Command("call", *remote, *steps, "--record", str(heard), "--seconds", "4")
    code, out, err = call.finish()
    assert (code, err) == (0, ""), err
    assert "ended with a BYE" in out
    assert "recorded" in out
    code, out, err = serve.finish()
    assert (code, err) == (0, "")
    assert [line.split("key ")[1][0] for line in out.splitlines() if "hears key" in line] == [
        "1",
        "2",
        "#",
        "D",
    ]
    assert "the caller has left (bye)" in out
    if codec.startswith("PCM"):
        law: g711.Law = "PCMU" if codec == "PCMU" else "PCMA"
        assert_heard(heard, g711.through(law, speech.clip("stop").samples))
    else:
        recording = wav.read(heard)
        assert recording.sample_rate == {"opus": 48000}.get(codec, 16000)
        assert max(map(abs, recording.samples)) > 3000  # speech, whatever the codec took from it


def test_both_ends_take_the_numbers_of_a_preset(tmp_path: Path) -> None:
    port = free_port()
    peer = ("--preset", "asterisk-external-media", "--codec", "L16/16000")
    serve = Command("serve", "--local", f"127.0.0.1:{port}", *peer)
    said = clip_file(tmp_path, "stop")
    remote = ("--remote", f"127.0.0.1:{port}")
    call = Command("call", *remote, *peer, "--play", said, "--dtmf", "5", "--seconds", "2")
    code, _, err = call.finish()
    assert code == 0, err
    assert "the peer sends L16/16000 under 118 and does not understand it" in err
    assert "hears key 5" in serve.finish()[1]


def test_a_preset_without_the_codec_says_what_it_has(tmp_path: Path) -> None:
    peer = ("--preset", "asterisk-external-media", "--codec", "L16/11025")
    code, _, err = Command("call", "--remote", "127.0.0.1:9", *peer).finish()
    assert code == 1
    assert "--codec L16/11025: the preset asterisk-external-media has PCMU/8000" in err


def test_parrot_repeats_the_sentence_after_the_pause(tmp_path: Path) -> None:
    port = free_port()
    serve = Command("serve", "--local", f"127.0.0.1:{port}", "--app", "parrot")
    heard = tmp_path / "heard.wav"
    remote = ("--remote", f"127.0.0.1:{port}")
    # A key first: by the time of the sentence the source has proved itself.
    steps = ("--dtmf", "5", "--play", clip_file(tmp_path, "greeting"))
    call = Command("call", *remote, *steps, "--record", str(heard), "--seconds", "8")
    assert call.finish()[0] == 0
    assert serve.finish()[0] == 0
    assert_heard(heard, g711.through("PCMU", speech.clip("greeting").samples))


def test_ctrl_c_ends_either_side_with_a_bye_and_a_summary(tmp_path: Path) -> None:
    port = free_port()
    serve = Command("serve", "--local", f"127.0.0.1:{port}", "--app", "menu")
    call = Command("call", "--remote", f"127.0.0.1:{port}", "--play", clip_file(tmp_path, "stop"))
    call.until("has played it")
    code, out, err = call.finish(interrupt=True)
    assert err == ""
    assert code == 0
    assert "ended with a BYE: received" in out
    code, out, err = serve.finish()
    assert (code, err) == (0, "")
    assert "the caller has left (bye)" in out

    port = free_port()
    serve = Command("serve", "--local", f"127.0.0.1:{port}", "--app", "menu")
    call = Command("call", "--remote", f"127.0.0.1:{port}", "--play", clip_file(tmp_path, "story"))
    serve.until("begin to speak")
    code, out, err = serve.finish(interrupt=True)
    assert (code, err) == (0, "")
    assert "ended with a BYE: received" in out
    assert "the far end has gone (bye)" in call.until("far end")
    assert call.finish()[0] == 0


def test_nobody_there_is_told_with_what_to_look_at() -> None:
    port = free_port()
    call = Command("call", "--remote", f"127.0.0.1:{port}", "--seconds", "0.5")
    code, _, err = call.finish()
    assert code == 1
    assert f"nothing came back from 127.0.0.1:{port}" in err
    serve = Command("serve", "--local", f"127.0.0.1:{port}", "--app", "echo")
    code, _, err = serve.finish(interrupt=True)
    assert code == 1
    assert f"nothing valid was received on 127.0.0.1:{port}" in err


def test_digits_alone_are_a_call_if_the_far_end_reports_that_they_arrive() -> None:
    """An echo has no audio to repeat then; its first report comes within half a second."""
    port = free_port()
    serve = Command(
        *("serve", "--local", f"127.0.0.1:{port}", "--app", "echo", "--rtcp-interval", "0.3")
    )
    steps = ("--dtmf", "12#")
    call = Command("call", "--remote", f"127.0.0.1:{port}", *steps, "--seconds", "4")
    code, out, err = call.finish()
    assert (code, err) == (0, ""), err
    assert "no audio came back, and none was sent; the far end reports that it receives us" in out
    assert "hears key #" in serve.finish()[1]


def test_digits_alone_that_nobody_reports_of_are_told_as_what_they_are() -> None:
    port = free_port()
    call = Command("call", "--remote", f"127.0.0.1:{port}", "--dtmf", "1", "--seconds", "0.5")
    code, _, err = call.finish()
    assert code == 1
    assert f"nothing came back from 127.0.0.1:{port}" in err
    assert "Only digits were sent" in err


def test_audio_that_is_not_answered_is_no_call_even_if_its_arrival_is_reported(
    tmp_path: Path,
) -> None:
    """A far end that hears us and that we do not hear: the usual trouble with a firewall."""
    port = free_port()
    (tmp_path / "silent_app.py").write_text("async def mute(call):\n    await call.ended()\n")
    local = ("--local", f"127.0.0.1:{port}", "--rtcp-interval", "0.3")
    serve = Command("serve", *local, "--app", "silent_app:mute", cwd=tmp_path)
    said = clip_file(tmp_path, "stop")
    call = Command("call", "--remote", f"127.0.0.1:{port}", "--play", said, "--seconds", "4")
    code, _, err = call.finish()
    assert code == 1
    assert f"nothing came back from 127.0.0.1:{port}" in err
    assert "Its RTCP reports did come." in err
    serve.finish()


def test_a_port_that_is_taken_is_named() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        code, out, err = Command("serve", "--local", f"127.0.0.1:{port}").finish()
    assert code == 1
    assert str(port) in err
    assert "Traceback" not in err
    assert out == ""


def test_an_application_of_one_s_own(tmp_path: Path) -> None:
    (tmp_path / "answer_app.py").write_text(
        "from roomkit.cli import speech\n"
        "async def greet(call):\n"
        "    assert await call.key(20, prompt=speech.chunk('greeting')) == '7'\n"
        "    await call.play(speech.chunk('goodbye'))\n"
    )
    port = free_port()
    local = ("--local", f"127.0.0.1:{port}")
    called = free_port()
    remote = ("--remote", f"127.0.0.1:{called}")
    heard = tmp_path / "heard.wav"
    far = ("--local", f"127.0.0.1:{called}", "--remote", f"127.0.0.1:{port}")
    call = Command("call", *far, "--wait", "4", "--dtmf", "7", "--record", str(heard))
    serve = Command("serve", *local, *remote, "--app", "answer_app:greet", cwd=tmp_path)
    assert serve.finish()[0] == 0
    code, out, _ = call.finish()
    assert code == 0
    assert "the far end has gone (bye)" in out
    assert_heard(heard, g711.through("PCMU", speech.clip("goodbye").samples))


def test_an_application_that_fails_says_so_and_hangs_up(tmp_path: Path) -> None:
    (tmp_path / "failing_app.py").write_text("async def fail(call):\n    raise LookupError('no')\n")
    serve = Command("serve", "--local", "127.0.0.1:0", "--app", "failing_app:fail", cwd=tmp_path)
    # Read as a line: what came together with the first one is not for `communicate`.
    assert "LookupError('no')" in serve.until("the application failed: ")
    assert serve.finish()[0] == 1
