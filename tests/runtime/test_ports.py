"""A free port can be listened on."""

from __future__ import annotations

import socket

from moshi_phone.runtime.ports import free_port


def test_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", free_port())):
        pass
