"""Runs the HTTP server inside a larger program."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

CUT_OFF_SECS = 1  # calls were drained before; a request gets this long


class _Server(uvicorn.Server):
    """uvicorn that reports when it listens, and ignores signals: its own handlers would cut off calls."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

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
        server.should_exit = True
        await serving
