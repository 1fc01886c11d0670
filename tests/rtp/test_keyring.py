"""One key, one call: who receives under which key."""

from __future__ import annotations

import base64
import gc
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from roomkit.rtp import SRTP, SRTPKey, keyring
from roomkit.rtp.keyring import LINGER_S, ReceiveKeys

SHARED = r"^srtp: another live session of this process receives under its receive_key"


def keys(receive: SRTPKey | None = None) -> SRTP:
    return SRTP(send_key=SRTPKey.generate(), receive_key=receive or SRTPKey.generate())


def holder(clock: Callable[[], float] = lambda: 0.0) -> ReceiveKeys:
    return ReceiveKeys(lambda: None, clock)


def takes(one: ReceiveKeys, srtp: SRTP | None, *, by_sdp: bool = False) -> list[ReceiveKeys]:
    with one.taking(srtp, by_sdp=by_sdp) as sharing:
        return sharing


def test_a_key_is_one_session_s_until_that_is_over() -> None:
    one, other, both = holder(), holder(), keys()
    assert takes(one, both) == []
    for _ in range(2):
        with pytest.raises(ValueError, match=SHARED):
            takes(other, keys(both.receive[0]))
    assert takes(other, SRTP(send_key=both.send, receive_key=SRTPKey.generate())) == []
    one.release()
    one.release()
    assert takes(other, both) == []
    with pytest.raises(ValueError, match=SHARED):
        takes(holder(), both)


def test_it_is_the_key_that_counts_whatever_else_is_said_of_it() -> None:
    raw = bytes(range(30))
    one = holder()
    takes(one, keys(SRTPKey("AES_CM_128_HMAC_SHA1_80", raw)))
    for same in (
        SRTPKey("AES_CM_128_HMAC_SHA1_32", raw),
        SRTPKey("AES_CM_128_HMAC_SHA1_80", base64.b64encode(raw).decode()),
        SRTPKey("AES_CM_128_HMAC_SHA1_80", raw, mki=b"\x07", lifetime=5),
    ):
        with pytest.raises(ValueError, match=SHARED):
            takes(holder(), keys(same))
    # One of several is enough.
    several = [SRTPKey.generate(mki=b"\1"), SRTPKey("AES_CM_128_HMAC_SHA1_80", raw, mki=b"\2")]
    with pytest.raises(ValueError, match=SHARED):
        takes(holder(), SRTP(send_key=SRTPKey.generate(), receive_key=several))
    one.release()


def test_the_ends_of_one_call_may_both_be_here() -> None:
    a, b = SRTPKey.generate(), SRTPKey.generate()
    alice, bob = holder(), holder()
    assert takes(alice, SRTP(send_key=a, receive_key=b)) == []
    assert takes(bob, SRTP(send_key=b, receive_key=a)) == []


def test_what_fails_has_taken_nothing_and_given_nothing_up() -> None:
    one, old, new = holder(), keys(), keys()
    takes(one, old)
    with pytest.raises(OSError, match="no port"), one.taking(new, by_sdp=False):
        with pytest.raises(ValueError, match=SHARED):
            takes(holder(), new)
        raise OSError("no port")
    other = holder()
    assert takes(other, new) == []
    with pytest.raises(ValueError, match=SHARED):
        takes(other, old)
    one.release()


def test_a_session_s_own_keys_are_no_obstacle_to_it() -> None:
    one, first, second = holder(), keys(), keys()
    for srtp in (first, first, second, first, keys(first.receive[0]), None):
        assert takes(one, srtp) == []
    one.release()


def test_keys_of_before_a_change_are_held_as_long_as_the_core_takes_them() -> None:
    now = 100.0
    one, other, old, new = holder(lambda: now), holder(lambda: now), keys(), keys()
    takes(one, old)
    takes(one, new)
    now += LINGER_S - 1
    takes(one, new)  # the same once more: what began to end before goes on ending
    with pytest.raises(ValueError, match=SHARED):
        takes(other, old)
    now += 1
    assert takes(other, old) == []
    with pytest.raises(ValueError, match=SHARED):
        takes(other, new)
    # And the other way round: it is not ours any more.
    with pytest.raises(ValueError, match=SHARED):
        takes(one, old)


def test_a_key_that_comes_back_in_time_stays() -> None:
    now = 0.0
    one, old, new = holder(lambda: now), keys(), keys()
    for srtp in (old, new, old):
        takes(one, srtp)
    now = 2 * LINGER_S
    with pytest.raises(ValueError, match=SHARED):
        takes(holder(), old)
    assert takes(holder(), new) == []
    one.release()


def test_by_sdp_it_is_taken_and_told_who_shares_it() -> None:
    one, two, three, same = holder(), holder(), holder(), keys()
    assert takes(one, same, by_sdp=True) == []
    assert takes(two, keys(same.receive[0]), by_sdp=True) == [one]
    assert set(takes(three, same, by_sdp=True)) == {one, two}
    assert takes(three, same, by_sdp=True) == [], "its own, told before"
    with pytest.raises(ValueError, match=SHARED):
        takes(holder(), same)
    one.release()
    two.release()
    with pytest.raises(ValueError, match=SHARED):
        takes(holder(), same)
    three.release()
    assert takes(holder(), same) == []


def test_who_is_gone_without_a_word_holds_nothing() -> None:
    one, same = holder(), keys()
    takes(one, same)
    del one
    gc.collect()
    assert takes(holder(), same) == []


def test_of_many_threads_one_gets_it() -> None:
    for _ in range(20):
        same = keys()
        got: list[ReceiveKeys] = []
        start = threading.Barrier(8)

        def take(
            same: SRTP = same, start: threading.Barrier = start, got: list[ReceiveKeys] = got
        ) -> None:
            one = holder()
            start.wait()
            try:
                takes(one, same)
            except ValueError:
                return
            got.append(one)

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1


def test_a_session_that_ends_while_it_changes_its_keys_holds_none() -> None:
    one, old, new = holder(), keys(), keys()
    takes(one, old)
    with pytest.raises(RuntimeError), one.taking(new, by_sdp=False):
        one.release()
        raise RuntimeError
    other = holder()
    assert takes(other, old) == takes(other, new) == []


def test_no_key_is_kept_or_shown() -> None:
    raw = bytes(range(1, 31))
    one = holder()
    takes(one, keys(SRTPKey("AES_CM_128_HMAC_SHA1_80", raw)))
    with pytest.raises(ValueError, match=SHARED) as caught:
        takes(holder(), keys(SRTPKey("AES_CM_128_HMAC_SHA1_80", raw)))
    ring = keyring._ring
    seen = " ".join(map(repr, (one, vars(one), vars(ring), dict(ring.keys), caught.value)))
    for form in (repr(raw)[2:-1], raw.hex(), base64.b64encode(raw).decode()):
        assert form not in seen
    assert not any(raw[:16] in digest for digest in ring.keys)
    one.release()


def test_a_forked_child_has_calls_of_its_own() -> None:
    """A new process, since this one has threads."""
    program = """
import os
from roomkit.rtp import SRTP, SRTPKey
from roomkit.rtp import keyring
from roomkit.rtp.keyring import ReceiveKeys

srtp = SRTP(send_key=SRTPKey.generate(), receive_key=SRTPKey.generate())
parent = ReceiveKeys(lambda: None)
with parent.taking(srtp, by_sdp=False):
    pass
keyring._ring.lock.acquire()  # as another thread may have it at that moment
child = os.fork()
if child == 0:
    with ReceiveKeys(lambda: None).taking(srtp, by_sdp=False):
        parent.release()
    os._exit(0)
keyring._ring.lock.release()
assert os.waitpid(child, 0)[1] == 0
try:
    with ReceiveKeys(lambda: None).taking(srtp, by_sdp=False):
        raise SystemExit("the parent has lost it")
except ValueError:
    print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")
