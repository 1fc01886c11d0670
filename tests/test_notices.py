"""The wheel carries the notices of what it bundles."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def carried() -> dict[str, str]:
    """The texts beside the installed package's metadata, by name."""
    files = distribution("roomkit").files or []
    licences = [
        file for file in files if ".dist-info" in str(file.parent) and "licenses" in file.parts
    ]
    return {file.name: file.read_text() for file in licences}


def test_the_installed_package_carries_its_licence_and_the_notices() -> None:
    texts = carried()
    assert set(texts) == {"LICENSE", "THIRD_PARTY_NOTICES"}
    assert texts["THIRD_PARTY_NOTICES"] == (ROOT / "THIRD_PARTY_NOTICES").read_text()
    assert texts["LICENSE"] == (ROOT / "LICENSE").read_text()


def test_the_notice_of_libopus_is_whole() -> None:
    """The second of its three conditions asks for all of it beside a binary."""
    notices = carried()["THIRD_PARTY_NOTICES"]
    _, _, opus = notices.partition("libopus, bundled by opusic-sys")
    for words in (
        "Xiph.Org, Skype Limited, Octasic,",
        "- Redistributions in binary form must reproduce the above copyright",
        "- Neither the name of Internet Society, IETF or IETF Trust",
        "THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS",
    ):
        assert words in opus, words


@pytest.mark.skipif(shutil.which("cargo") is None, reason="needs cargo")
def test_the_notices_are_of_what_is_linked_now() -> None:
    check = [sys.executable, "tools/notices.py", "--check"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
