"""The figures of a session's statistics that a person watches, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["figures", "summary"]


def figures(stats: Mapping[str, Any]) -> dict[str, str]:
    """Name and value, in the order of interest, from `RTPStats`."""
    shown = {
        "received": f"{stats['packets_received']}",
        "lost": f"{max(stats['packets_lost'], 0)}",
        "concealed": f"{stats['frames_concealed']}",
        "jitter": f"{stats['jitter_ms']:.1f} ms",
        "sent": f"{stats['packets_sent']}",
    }
    if stats["round_trip_ms"] is not None:
        shown["round trip"] = f"{stats['round_trip_ms']:.1f} ms"
    if stats["mos"] is not None:
        shown["MOS"] = f"{stats['mos']:.1f}"
    if stats["remote_mos"] is not None:
        shown["MOS there"] = f"{stats['remote_mos']:.1f}"
    if stats["stranger"]:
        shown["refused"] = f"{stats['stranger']}"
    return shown


def summary(stats: Mapping[str, Any]) -> str:
    """One line."""
    return ", ".join(f"{name} {value}" for name, value in figures(stats).items())
