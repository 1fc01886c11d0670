"""Ports on loopback, for programs whose library does not tell which ones it got."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


def free_port_pair() -> int:
    """An even port that is free, with the next one for RTCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp:
            rtp.bind((HOST, 0))
            port: int = rtp.getsockname()[1]
            if port % 2:
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp:
                try:
                    rtcp.bind((HOST, port + 1))
                except OSError:
                    continue
                return port
