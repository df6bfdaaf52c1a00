"""Ports for servers that cannot take an open socket."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack

_LOWEST, _HIGHEST = 20_000, 32_000  # below the ephemeral ports, which any program may get


def free_ports(count: int = 1) -> int:
    """Return the first of several consecutive free TCP ports of 127.0.0.1."""
    while True:
        first = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST - count)
        with ExitStack() as probes:
            try:
                for port in range(first, first + count):
                    probes.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
