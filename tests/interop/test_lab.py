"""The lab's own judgement: what it must not let pass, it does not let pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from interop import peers
from interop.peers import Peer, free_ports
from interop.sound import Pcm, assert_contains, coded, speech

WANTED = speech()
SILENCE: Pcm = np.zeros(800, np.int16)


def test_speech_between_silences_is_found_where_it_is() -> None:
    assert assert_contains(np.concatenate([SILENCE, WANTED, SILENCE]), WANTED) == len(SILENCE)


@pytest.mark.parametrize(
    "heard",
    [
        WANTED[:-1],
        WANTED[1:],
        np.delete(WANTED, 9000),
        np.insert(WANTED, 9000, 0),
        np.negative(WANTED),
        np.repeat(WANTED, 2),
        np.where(np.arange(len(WANTED)) == 12345, WANTED + 1, WANTED).astype(np.int16),
        np.concatenate([WANTED[:8000], SILENCE, WANTED[8000:]]),
        SILENCE,
    ],
    ids=[
        "the last sample is missing",
        "the first sample is missing",
        "one sample is missing in the middle",
        "one sample too many in the middle",
        "polarity",
        "half the speed",
        "one sample is off by one",
        "a gap",
        "nothing was heard",
    ],
)
def test_speech_that_is_not_whole_is_refused(heard: Pcm) -> None:
    with pytest.raises(AssertionError, match="best fit"):
        assert_contains(np.concatenate([SILENCE, heard, SILENCE]), WANTED)


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "L16"])
def test_samples_that_were_coded_once_stay_as_they_are(codec: str) -> None:
    once = coded(WANTED, codec)
    assert np.array_equal(coded(once, codec), once)
    assert np.array_equal(once, WANTED) == (codec == "L16")


def test_no_two_looks_for_free_ports_find_the_same() -> None:
    found = [*free_ports(2), *free_ports(1), *free_ports(3)]
    assert len(set(found)) == 6
    assert all(port % 2 == 0 for port in found)


async def test_a_peer_that_hangs_is_ended_and_one_that_fails_is_told() -> None:
    async with Peer([sys.executable, "-c", "import time; print('up', flush=True); input()"]) as bad:
        assert await bad.exit(timeout=10) == 1  # it has no standard input to wait at
    hanging = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
    async with Peer(hanging) as peer:
        await peer.line("^up$")
        with pytest.raises(AssertionError, match="before the end|in 0"):
            await peer.line("never said", timeout=0.05)
    assert peer.process.returncode is not None


def test_a_machine_without_the_oracles_that_are_modules_skips_what_asks_them_and_says_so() -> None:
    missing = ("G722", "av", "opuslib_next", "pesq", "pylibsrtp")
    run = """
import sys

import pytest

sys.modules.update(dict.fromkeys(sys.argv[1].split()))  # importing any of them raises ImportError
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "-rs", "tests"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", run, " ".join(missing)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "ROOMKIT_REQUIRE_PEERS": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout
    assert "NOT TESTED: G722 is missing" in done.stdout
    assert "NOT TESTED: pylibsrtp is missing" in done.stdout
    assert "interop/test_matrix.py" in done.stdout, "collected: only its own tests miss av"


def test_an_oracle_that_is_missing_fails_where_peers_are_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pesq", None)
    monkeypatch.setattr(peers, "REQUIRED", True)
    with pytest.raises(pytest.fail.Exception, match=r"pesq is missing \(.*\); to test it: pip"):
        peers.oracle("pesq", "pip install pesq")
    monkeypatch.setattr(peers, "REQUIRED", False)
    with pytest.raises(pytest.skip.Exception, match="NOT TESTED: pesq is missing"):
        peers.oracle("pesq", "pip install pesq")
