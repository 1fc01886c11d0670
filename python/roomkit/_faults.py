"""What the program's own callbacks raise: told with its traceback, but not fifty times a second.

A callback that fails at every frame of every call would otherwise fill the log faster than anybody
reads it, and take longer to complain than the calls take to carry.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["FaultLog", "log_fault"]

_INTERVAL_S: Final = 5.0
# Different faults that are remembered; of more, the one told longest ago counts as new again.
_LIMIT: Final = 256


class FaultLog:
    """Logs each fault once and then at most every five seconds, with the number of those between.

    Faults are the same if message, exception type and line of code are: another exception of the
    same callback is told at once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: OrderedDict[object, _Told] = OrderedDict()

    def log(self, log: logging.Logger, error: BaseException, message: str, *args: object) -> None:
        """Logs `message % args` with the traceback of `error`, unless it did a moment ago."""
        text = message % args
        key = (log.name, text, type(error), _line_of(error))
        now = self._clock()
        told = self._told.get(key)
        if told is not None and now - told.at < _INTERVAL_S:
            told.since += 1
            return
        if told is not None and told.since:
            text += f" (and did so {told.since} more times since it was last told)"
        self._told[key] = _Told(now)
        self._told.move_to_end(key)
        if len(self._told) > _LIMIT:
            self._told.popitem(last=False)
        log.error("%s", text, exc_info=error)


log_fault: Final = FaultLog().log
"""The one of this process."""


@dataclass(slots=True)
class _Told:
    at: float
    since: int = 0


def _line_of(error: BaseException) -> tuple[str, int]:
    """Where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return ("", 0) if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
