"""Runs the HTTP server inside a larger program, configured for calls."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial

import uvicorn

from moshi_phone.runtime.open_files import raise_limit
from moshi_phone.server.net.connections import ConnectionLimits, Connections
from moshi_phone.server.net.http_protocol import HttpProtocol
from moshi_phone.server.net.websocket_protocol import WebSocketProtocol

_HEAD_BYTES = 16 * 1024  # of a request; Twilio's have one or two kilobytes
_MESSAGE_BYTES = 64 * 1024  # of a WebSocket message; Twilio's have less than one kilobyte, except the start
_KEEP_ALIVE_SECS = 75  # longer than a load balancer's usual 60, so that it closes first and loses no request
_MAX_WAITING = 128  # connections that have not become a request or a call
_BACKLOG = 128  # connections accepted in one iteration of the loop
_MAX_CONNECTIONS = 512  # beyond that, requests get a 503; calls continue
_TICK_SECS = 1  # the resolution of the date header
CUT_OFF_SECS = 1  # calls were drained before; a request gets this long


def uvicorn_config(app: object, connections: Connections | None = None) -> uvicorn.Config:
    """Configure uvicorn for calls: small messages, no compression, and limits on everything.

    Args:
        app: the server's.
        connections: holds the limits and the waiting connections.
    """
    files = raise_limit()
    connections = connections or Connections(ConnectionLimits(waiting=min(_MAX_WAITING, files // 4)))
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,  # uvicorn's lines go where all others go (commands/logs.py)
        log_level="warning",
        access_log=False,
        http=partial(HttpProtocol, connections),  # type: ignore[arg-type] # uvicorn only ever calls it
        h11_max_incomplete_event_size=_HEAD_BYTES,
        limit_concurrency=min(_MAX_CONNECTIONS, files // 2),
        timeout_keep_alive=_KEEP_ALIVE_SECS,
        backlog=_BACKLOG,
        ws=partial(WebSocketProtocol, connections),  # type: ignore[arg-type] # likewise
        ws_per_message_deflate=False,  # Twilio never asks for it
        ws_max_size=_MESSAGE_BYTES,
        ws_ping_interval=connections.limits.ping_secs,
        ws_ping_timeout=connections.limits.ping_secs,
    )


class _Server(uvicorn.Server):
    """uvicorn that reports when it listens, and ignores signals: its own handlers would cut off calls."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()
        self._ends = asyncio.Event()

    def end(self) -> None:
        """End ``serve``."""
        self.should_exit = True
        self._ends.set()

    async def main_loop(self) -> None:
        """Wait for the end, and update the date header each second; uvicorn looks ten times a second."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ends.wait(), _TICK_SECS)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listening:
    """A running HTTP server."""

    def __init__(self, server: _Server, listener: socket.socket) -> None:
        self._server = server
        self._listener = listener

    @property
    def connections(self) -> int:
        """Number of open connections, with or without a request."""
        return len(self._server.server_state.connections)

    def accept_no_more(self) -> None:
        """Stop accepting: new connections go to other owners of this socket; open ones continue."""
        for each in self._server.servers:
            each.close()
        self._listener.close()


@asynccontextmanager
async def listening(config: uvicorn.Config, listener: socket.socket) -> AsyncIterator[Listening]:
    """Serve requests on this socket while the block runs. At its end, remaining requests are cut off."""
    config.timeout_graceful_shutdown = CUT_OFF_SECS  # uvicorn's default waits for ever
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    listens = asyncio.create_task(server.listens.wait())
    try:
        await asyncio.wait((serving, listens), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():  # it failed before it listened; this raises the error
            serving.result()
        yield Listening(server, listener)
    finally:
        listens.cancel()
        server.end()
        await serving
