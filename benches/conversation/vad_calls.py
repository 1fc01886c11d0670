"""Calls in real time through one detector, for `vad.py`: `vad_calls.py DETECTOR CALLS RATE SECONDS
CALLERS` prints CPU, memory and delay as one line of JSON."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from roomkit.voice.frame import AudioFrame, frame_from_media
from roomkit.voice.vad import EnergyVAD, SileroVAD, VADEvent, VADProvider

GRID_S = 0.005  # the core's: it hands out the frames of some of its calls at each step
TURNS = 4  # in 20 ms
WARM_UP = 400  # steps


def main() -> None:
    name, calls, rate, seconds, path = sys.argv[1:]
    audio = [bytes.fromhex(each) for each in json.loads(Path(path).read_text())]
    before = memory()
    run = Run(name, int(calls), int(rate), audio)
    asyncio.run(run.play(float(seconds)))
    now = memory()
    print(
        json.dumps(
            {
                "detector": name,
                "calls": run.calls,
                "rate": run.rate,
                "cpu_ms": run.cpu_s * 1000 / (run.frames * TURNS * GRID_S),
                "private_mb": now[0] - before[0],
                "resident_mb": now[1] - before[1],
                "told_after_ms": run.delays(),
                "dropped": getattr(run.vad, "dropped_windows", 0),
            }
        )
    )


class Run:
    """Its calls, and what they cost."""

    def __init__(self, name: str, calls: int, rate: int, audio: list[bytes]) -> None:
        self.calls, self.rate, self._audio = calls, rate, audio
        self.cpu_s, self.frames = 0.0, 0
        self.vad: VADProvider | None = None
        if name != "none":
            self.vad = SileroVAD() if name == "silero" else EnergyVAD()
        # When the frames of each call were fed: an event belongs to the last but one, or the last.
        self._fed = [0.0] * calls
        self._after: list[float] = []

    async def play(self, seconds: float) -> None:
        loop, source = asyncio.get_running_loop(), random.Random(1)
        size = self.rate // 50 * 2
        streams = [self.vad.open(self._teller(call)) for call in range(self.calls) if self.vad]
        feeds: list[Callable[[AudioFrame], object]] = [stream.feed for stream in streams]
        feeds = feeds or [lambda frame: None] * self.calls
        places = [0] * self.calls
        chosen = [source.choice(self._audio) for _ in places]
        turn = [source.randrange(TURNS) for _ in places]
        groups = [[call for call in range(self.calls) if turn[call] == t] for t in range(TURNS)]
        began = loop.time()
        for step in range(WARM_UP + round(seconds / GRID_S)):
            await asyncio.sleep(max(0, began + step * GRID_S - loop.time()))
            if step == WARM_UP:
                self.cpu_s, self.frames = -time.process_time(), 0
            for call in groups[step % TURNS]:
                if places[call] + size > len(chosen[call]):
                    places[call], chosen[call] = 0, source.choice(self._audio)
                data = chosen[call][places[call] : places[call] + size]
                places[call] += size
                self.frames += 1
                self._fed[call] = loop.time()
                feeds[call](frame_from_media(data, self.rate, 1, step // TURNS * 20.0))
        self.cpu_s += time.process_time()
        for stream in streams:
            stream.close()

    def delays(self) -> list[float]:
        """p50, p95 and the longest from the frame that settled an event to its telling, in ms."""
        ordered = sorted(self._after) or [0.0]
        return [
            ordered[min(int(len(ordered) * share), len(ordered) - 1)] for share in (0.5, 0.95, 1)
        ]

    def _teller(self, call: int) -> Callable[[VADEvent], None]:
        loop = asyncio.get_running_loop()
        return lambda event: self._after.append((loop.time() - self._fed[call]) * 1000)


def memory() -> tuple[float, float]:
    """MB of this process: its own, and all that is resident, with the pages of libraries that
    other processes may share."""
    found = {
        line.split(":")[0]: int(line.split()[1]) / 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(("RssAnon", "VmRSS"))
    }
    return found["RssAnon"], found["VmRSS"]


if __name__ == "__main__":
    main()
