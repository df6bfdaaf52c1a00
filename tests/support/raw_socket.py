"""A peer that does what no library allows: half a request, pings without reading, silence."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

TEXT, CONTINUATION, PING = 0x1, 0x0, 0x9
_MASK = b"\0\0\0\0"  # allowed, and leaves the payload unchanged
_READ_BYTES = 4_096


def frame(opcode: int, payload: bytes = b"", *, last: bool = True) -> bytes:
    """Return a WebSocket frame as a client sends it."""
    head = bytes([opcode | (0x80 if last else 0)])
    if len(payload) < 126:
        return head + bytes([0x80 | len(payload)]) + _MASK + payload
    return head + bytes([0x80 | 126]) + len(payload).to_bytes(2) + _MASK + payload


def text(message: dict[str, Any]) -> bytes:
    """Return a JSON message as a frame."""
    return frame(TEXT, json.dumps(message).encode())


@dataclass
class RawSocket:
    """A TCP connection; data is read by ``read`` only."""

    sock: socket.socket

    async def send(self, data: bytes, *, within_secs: float = 10.0) -> None:
        """Send everything, or fail: ConnectionError if cut off, TimeoutError if the server reads nothing."""
        async with asyncio.timeout(within_secs):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def read(self, within_secs: float = 10.0) -> bytes:
        """Read until the other side closes; return the data."""
        got = b""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(within_secs):
            try:
                while piece := await loop.sock_recv(self.sock, _READ_BYTES):
                    got += piece
            except ConnectionError:
                pass
        return got

    async def upgrade(self, path: str = "/stream") -> None:
        """Make it a WebSocket."""
        key = base64.b64encode(os.urandom(16)).decode()
        await self.send(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            piece = await asyncio.get_running_loop().sock_recv(self.sock, 1)
            assert piece, f"closed after {answer!r}"
            answer += piece
        assert answer.startswith(b"HTTP/1.1 101 ")


@asynccontextmanager
async def raw_socket(address: str, *, receive_bytes: int = 4_096) -> AsyncIterator[RawSocket]:
    """Connect to ``HOST:PORT``.

    Args:
        address: where the server listens.
        receive_bytes: the size of the receive buffer of a peer that does not read.
    """
    host, _, port = address.rpartition(":")
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        yield RawSocket(sock)
    finally:
        sock.close()
