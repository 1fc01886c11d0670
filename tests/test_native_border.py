"""The border between Python and the media core, where Python's own ways meet it."""

from __future__ import annotations

import subprocess
import sys

# Python 3.11 collects garbage wherever a tuple is made, so also while the inbox is emptied; a
# finalizer may then do anything, the inbox's own methods included.
FINALIZER_IN_A_DRAIN = """
import faulthandler, gc, select
from roomkit import _native

faulthandler.dump_traceback_later(30, exit=True)
inbox = _native.Inbox()
engine = _native.Engine()
codec = {"kind": "PCMU", "payload_type": 0, "clock_rate": 8000, "sample_rate": 8000}
session = engine.open(
    inbox,
    {"local": ("127.0.0.1", 0), "remote": ("127.0.0.1", 9), "codecs": [codec], "dscp": 0},
)
for playback in range(1, 41):
    session.push(bytes(320), 8000, 1, playback, True)
session.cancel(40)
session.close()

closed = []

class Last:
    def __init__(self):
        self.cycle = self

    def __del__(self):
        closed.append(inbox.drain(1))
        inbox.close()

gc.collect()
gc.set_threshold(1)
select.select([inbox.fileno()], [], [], 10)
Last()
items = inbox.drain()
gc.set_threshold(700)
gc.collect()
assert closed
told = items + closed[0]
ended = [item for item in told if item[1] == _native.PLAYBACK_ENDED]
assert len(ended) == 40 and told[-1][1] == _native.CLOSED, told
engine.stop()
print("drained")
"""


def test_a_finalizer_that_runs_while_the_inbox_is_emptied_may_use_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FINALIZER_IN_A_DRAIN],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "drained", done.stderr
