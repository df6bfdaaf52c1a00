"""A port that nobody has, for a program that cannot be given an open socket."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Give a TCP port of 127.0.0.1 that was free a moment ago; somebody may be quicker."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
