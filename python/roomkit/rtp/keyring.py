"""One key, one call: the master keys under which the sessions of this process receive.

SRTP tells who sent a packet by the key alone. Where two calls receive under one key, whoever reads
the network can send the packets of one into the other, and needs no key for it.

Of a key nothing is kept but a digest under a secret of the process. A session holds its keys from
before it opens until the core has ended it, and those of before a `rekey` for as long as the core
still takes them; who holds none any longer, for whatever reason, is forgotten.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final

from roomkit.rtp.srtp import SRTP, SRTPKey

__all__ = ["ReceiveKeys"]

LINGER_S: Final = 33.0
"""How long keys of before a change may still be received with: 32 s in the core
(`crates/media/src/srtp/receiver.rs`), from when its thread has taken the change."""


class _Key:
    """A key, as far as it is known here: by who holds it."""

    __slots__ = ("__weakref__", "holders")

    def __init__(self) -> None:
        self.holders: weakref.WeakSet[ReceiveKeys] = weakref.WeakSet()


class _Ring:
    """The keys of the process; one that nobody holds is gone."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.secret = secrets.token_bytes(32)
        self.keys: weakref.WeakValueDictionary[bytes, _Key] = weakref.WeakValueDictionary()

    def key(self, key: SRTPKey) -> _Key:
        assert isinstance(key.key, bytes)
        digest = blake2b(key.key, key=self.secret, digest_size=16).digest()
        known = self.keys.get(digest)
        if known is None:
            known = self.keys[digest] = _Key()
        return known


class ReceiveKeys:
    """Those of one session."""

    def __init__(
        self, narrow: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`narrow()`: another session has come to receive under one of them."""
        self.narrow = narrow
        self._clock = clock
        self._held: dict[_Key, float | None] = {}  # until when; None: they are those of now
        self._over = False

    @contextmanager
    def taking(self, srtp: SRTP | None, *, by_sdp: bool) -> Iterator[list[ReceiveKeys]]:
        """While the session goes over to `srtp`. If that fails, nothing has been taken.

        Yields those of other live sessions that receive under one of these keys. `by_sdp`: the far
        end chose them, and may have one for all its calls; of the program's own that is a
        `ValueError`.
        """
        if srtp is None:
            yield []
            return
        with _ring.lock:
            new = {_ring.key(key) for key in srtp.receive}
            sharing = {
                other
                for key in new
                if not self._has(key)
                for other in key.holders
                if other is not self and other._has(key)
            }
            if sharing and not by_sdp:
                raise ValueError(
                    "srtp: another live session of this process receives under its receive_key, so"
                    " that packets of one call would pass for the other's; a key of its own for"
                    " each call fits"
                )
            before = dict(self._held)
            self._hold({**self._held, **dict.fromkeys(new)})
        try:
            yield list(sharing)
        except BaseException:
            with _ring.lock:
                self._hold(before)
            raise
        with _ring.lock:
            until = self._clock() + LINGER_S
            self._hold(
                {
                    key: None if key in new else until if ends is None else ends
                    for key, ends in self._held.items()
                    if key in new or ends is None or self._has(key)
                }
            )

    def release(self) -> None:
        """The session is over. Idempotent."""
        with _ring.lock:
            self._hold({})
            self._over = True

    def _has(self, key: _Key) -> bool:
        if key not in self._held:
            return False
        until = self._held[key]
        return until is None or self._clock() < until

    def _hold(self, keys: dict[_Key, float | None]) -> None:
        if self._over:
            return  # it was closed while it went over to others
        for key in self._held.keys() - keys.keys():
            key.holders.discard(self)
        for key in keys:
            key.holders.add(self)
        self._held = keys


def _after_fork() -> None:
    # The parent's calls are not the child's, and its lock may be held for ever.
    global _ring
    _ring = _Ring()


_ring = _Ring()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
