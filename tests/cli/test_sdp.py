"""`roomkit sdp` says what would be made of an offer."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from roomkit import cli
from rtp.sdp_corpus import FREESWITCH, LINPHONE, OLD_HOLD, RTPENGINE, SBC


def explained(sdp: str, tmp_path: Path, *more: str) -> int:
    (tmp_path / "offer.sdp").write_text(sdp)
    return cli.main(["sdp", str(tmp_path / "offer.sdp"), *more])


def test_an_offer_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(FREESWITCH, tmp_path) == 0
    assert capsys.readouterr().out.splitlines() == [
        "audio to   198.51.100.7:24876",
        "direction  sendrecv: both ends send",
        "we send    opus/48000/2 under 102, 20 ms a packet",
        "also heard G722/8000 under 9",
        "also heard PCMU/8000 under 0",
        "also heard PCMA/8000 under 8",
        "digits     103 at 48000 Hz, 101 at 8000 Hz",
        "noise      13",
        "encrypted  no",
    ]


def test_what_is_not_taken_is_told_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(LINPHONE, tmp_path, "--codec", "PCMA") == 0
    out = capsys.readouterr().out
    assert "we send    PCMA/8000 under 8" in out
    assert "RTCP to    192.0.2.33:33445" in out
    assert "not taken  opus/48000/2, speex/16000, speex/8000, PCMU/8000" in out
    assert "refused    video RTP/AVP 96" in out


def test_what_cannot_be_read_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(FREESWITCH + "a=rtcp:9356 IN 192.0.2.47\r\n", tmp_path) == 0
    assert "ignored    line 18: a=rtcp:9356 IN 192.0.2.47: an address" in capsys.readouterr().out


def test_hold_and_encryption_are_told_and_no_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(OLD_HOLD, tmp_path) == 0
    assert "nowhere yet: on hold" in capsys.readouterr().out
    assert explained(RTPENGINE, tmp_path) == 0
    out = capsys.readouterr().out
    assert "encrypted  AEAD_AES_256_GCM" in out
    assert "RTCP to    the same port" in out
    assert "inline" not in out


def test_an_offer_without_hope_is_refused_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(SBC, tmp_path, "--codec", "opus") == 1
    assert "line 6: " in capsys.readouterr().err
    assert explained("nonsense", tmp_path) == 1
    assert "line 1: 'nonsense'" in capsys.readouterr().err
    assert cli.main(["sdp", str(tmp_path / "nowhere.sdp")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_it_reads_from_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(FREESWITCH.encode())))
    assert cli.main(["sdp", "-"]) == 0
    assert "opus" in capsys.readouterr().out
