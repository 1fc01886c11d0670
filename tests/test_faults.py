"""The log of what callbacks raise, on a clock of its own."""

from __future__ import annotations

import asyncio
import logging

import pytest

from roomkit._faults import FaultLog
from roomkit.rtp import RTPSession
from rtp.wire import Peer

LOG = logging.getLogger("test.faults")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def fault(kind: type[LookupError | ValueError]) -> Exception:
    try:
        raise kind("no such number 4711")
    except (LookupError, ValueError) as error:
        return error


def other_line() -> Exception:
    try:
        raise ValueError
    except ValueError as error:
        return error


def test_the_same_fault_is_told_once_in_five_seconds_and_then_how_often_it_came(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = FaultLog(clock := Clock())
    for _ in range(250):  # five seconds of frames
        faults.log(LOG, fault(ValueError), "callback %s raised", "mine")
        clock.now += 0.0199
    assert [record.getMessage() for record in caplog.records] == ["callback mine raised"]
    assert "no such number 4711" in caplog.text, "with its traceback"
    clock.now += 1
    faults.log(LOG, fault(ValueError), "callback %s raised", "mine")
    assert caplog.messages[1:] == [
        "callback mine raised (and did so 249 more times since it was last told)"
    ]
    clock.now += 5
    faults.log(LOG, fault(ValueError), "callback %s raised", "mine")
    assert caplog.messages[2:] == ["callback mine raised"]


def test_another_exception_line_callback_or_logger_is_another_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = FaultLog(Clock())
    for _ in range(2):
        faults.log(LOG, fault(ValueError), "%s raised", "mine")
        faults.log(LOG, fault(KeyError), "%s raised", "mine")
        faults.log(LOG, other_line(), "%s raised", "mine")
        faults.log(LOG, fault(ValueError), "%s raised", "yours")
        faults.log(logging.getLogger("test.other"), fault(ValueError), "%s raised", "mine")
        faults.log(LOG, ValueError(), "%s raised", "mine")  # never raised: it has no traceback
    assert len(caplog.records) == 6


def test_what_is_remembered_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    faults = FaultLog(Clock())
    for number in range(1000):
        faults.log(LOG, fault(ValueError), "callback %d raised", number)
    assert len(faults._told) == 256
    faults.log(LOG, fault(ValueError), "callback %d raised", 0)
    faults.log(LOG, fault(ValueError), "callback %d raised", 999)
    assert len(caplog.records) == 1001, "the oldest is new again, the newest is not"


async def test_a_callback_that_fails_at_every_frame_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = asyncio.Event()
    frames = 0

    def count(_: object) -> None:
        nonlocal frames
        frames += 1
        if frames == 20:
            heard.set()

    def fail(_: object) -> None:
        raise LookupError("at every frame")

    with Peer() as peer:
        async with RTPSession(local_addr=("127.0.0.1", 0), remote_addr=peer.addr) as session:
            session.on_frame(fail)
            session.on_frame(count)
            peer.greet(session.local_addr)
            async with asyncio.timeout(10):
                await heard.wait()
    # 20 frames take 0.4 s; ten seconds of a busy machine would have it told three times.
    told = [record for record in caplog.records if "fail" in record.getMessage()]
    assert 1 <= len(told) <= 3
