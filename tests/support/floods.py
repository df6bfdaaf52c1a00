"""An attacker that floods the server from a separate process, over real sockets.

``python -m tests.support.floods KIND HOST:PORT --connections 16 --secs 5`` sends as fast as the server reads,
and connects again whenever it is cut off. It prints the numbers of connections and bytes.
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from tests.support.raw_socket import CONTINUATION, PING, TEXT, frame, text

UPGRADE = (
    b"GET /stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MEDIA = text({"event": "media", "media": {"payload": "AAAA"}})
POST = b"POST /%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
EMPTY = frame(TEXT) * 10_000  # of six bytes each
CHUNKS = b"1\r\na\r\n" * 10_000

Flood = Callable[[socket.socket], Iterator[bytes]]


def _upgrade(sock: socket.socket) -> None:
    sock.sendall(UPGRADE)
    got = b""
    while b"\r\n\r\n" not in got:
        piece = sock.recv(4096)
        if not piece:
            raise ConnectionError(got)
        got += piece


def _endlessly(data: bytes) -> Iterator[bytes]:
    while True:
        yield data


def frames_after_our_close(sock: socket.socket) -> Iterator[bytes]:
    """Be refused (media before a start), and keep sending the smallest messages."""
    _upgrade(sock)
    yield MEDIA
    yield from _endlessly(EMPTY)


def pings_after_our_close(sock: socket.socket) -> Iterator[bytes]:
    """Be refused, and keep sending pings."""
    _upgrade(sock)
    yield MEDIA
    yield from _endlessly(frame(PING) * 10_000)


def pieces_after_our_close(sock: socket.socket) -> Iterator[bytes]:
    """Be refused, and keep sending messages of two fragments."""
    _upgrade(sock)
    yield MEDIA
    yield from _endlessly((frame(TEXT, last=False) + frame(CONTINUATION)) * 5_000)


def messages_before_start(sock: socket.socket) -> Iterator[bytes]:
    """Send JSON that is not a start."""
    _upgrade(sock)
    yield from _endlessly(frame(TEXT, b"{}") * 5_000)


def long_messages_before_start(sock: socket.socket) -> Iterator[bytes]:
    """Send long JSON that is not a start."""
    _upgrade(sock)
    yield from _endlessly(frame(TEXT, b"[" + b"{}," * 15_000 + b"{}]"))


def chunks(sock: socket.socket, path: bytes = b"nowhere") -> Iterator[bytes]:
    """Send a body of one byte a chunk to a path that does not exist."""
    yield POST % (path, CHUNKED)
    yield from _endlessly(CHUNKS)


def chunks_to_webhook(sock: socket.socket) -> Iterator[bytes]:
    """Send a body of one byte a chunk to a path that reads bodies."""
    yield from chunks(sock, b"twiml")


def pipelined_requests(sock: socket.socket) -> Iterator[bytes]:
    """Send short requests without waiting for the responses, which are read."""
    threading.Thread(target=_swallow, args=(sock,), daemon=True).start()
    yield from _endlessly(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500)


def many_headers(sock: socket.socket) -> Iterator[bytes]:
    """Send requests whose head is full of minimal headers."""
    threading.Thread(target=_swallow, args=(sock,), daemon=True).start()
    yield from _endlessly(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a:\r\n" * 3_900 + b"\r\n")


def webhooks_with_long_forms(sock: socket.socket) -> Iterator[bytes]:
    """Send unsigned forms of maximal length."""
    threading.Thread(target=_swallow, args=(sock,), daemon=True).start()
    form = b"&".join(b"%d=" % n for n in range(499)).ljust(65_000, b"x")
    yield from _endlessly(POST % (b"twiml", b"Content-Length: %d" % len(form)) + form)


def connections(sock: socket.socket) -> Iterator[bytes]:
    """Connect and disconnect."""
    yield b""


KINDS: dict[str, Flood] = {
    flood.__name__: flood
    for flood in (
        frames_after_our_close,
        pings_after_our_close,
        pieces_after_our_close,
        messages_before_start,
        long_messages_before_start,
        chunks,
        chunks_to_webhook,
        pipelined_requests,
        many_headers,
        webhooks_with_long_forms,
        connections,
    )
}


def _swallow(sock: socket.socket) -> None:
    with suppress(OSError):
        while sock.recv(65_536):
            pass


class Flooder:
    """Floods from several threads, one connection each at a time."""

    def __init__(self, flood: Flood, host: str, port: int) -> None:
        self.sent_bytes = 0
        self.connected = 0
        self._flood = flood
        self._address = (host, port)

    def run(self, connections: int, secs: float) -> None:
        """Flood for a given time."""
        until_s = time.monotonic() + secs
        for _ in range(connections):
            threading.Thread(target=self._raise_if_stopping, args=(until_s,), daemon=True).start()
        time.sleep(secs)

    def _raise_if_stopping(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            with suppress(OSError), socket.create_connection(self._address, timeout=10) as sock:
                self.connected += 1
                for data in self._flood(sock):
                    if time.monotonic() > until_s:
                        return
                    sock.sendall(data)
                    self.sent_bytes += len(data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("address")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--secs", type=float, default=5)
    arguments = parser.parse_args()
    if hasattr(os, "nice"):
        os.nice(10)  # a real attacker has another machine: this process's own work must not delay the call
    host, _, port = arguments.address.rpartition(":")
    flooder = Flooder(KINDS[arguments.kind], host, int(port))
    flooder.run(arguments.connections, arguments.secs)
    print(f"{flooder.connected} connections, {flooder.sent_bytes} bytes")  # noqa: T201 - a program's output
