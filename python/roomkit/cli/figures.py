"""The figures of a session's statistics that a person watches, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roomkit.rtp.stats import RTPStats

__all__ = ["figures", "summary"]


def figures(stats: RTPStats) -> dict[str, str]:
    """Name and value, in the order of interest."""
    round_trip = stats.round_trip_ms
    shown = {
        "received": f"{stats.packets_received}",
        "lost": f"{max(stats.packets_lost, 0)}",
        "concealed": f"{stats.frames_concealed}",
        "jitter": f"{stats.jitter_ms:.1f} ms",
        "sent": f"{stats.packets_sent}",
    }
    if round_trip is not None:
        shown["round trip"] = f"{round_trip:.1f} ms"
    if stats.stranger:
        shown["refused"] = f"{stats.stranger}"
    return shown


def summary(stats: RTPStats) -> str:
    """One line."""
    return ", ".join(f"{name} {value}" for name, value in figures(stats).items())
