"""Runs the HTTP server inside a program that has more to do than that."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

CUT_OFF_SECS = 1  # calls have had their time to finish before; a request has this much


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, and leaves signals alone: its own way cuts every call off."""

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
    """A server that answers requests."""

    def __init__(self, server: _Server, listener: socket.socket) -> None:
        self._server = server
        self._listener = listener

    @property
    def connections(self) -> int:
        """How many there are, with a request or without."""
        return len(self._server.server_state.connections)

    def accept_no_more(self) -> None:
        """Leave new connections to whoever else has this socket; those that there are go on."""
        for each in self._server.servers:
            each.close()
        self._listener.close()


@asynccontextmanager
async def listening(config: uvicorn.Config, listener: socket.socket) -> AsyncIterator[Listening]:
    """Answer requests on this socket while the block runs. What still runs at its end is cut off."""
    config.timeout_graceful_shutdown = CUT_OFF_SECS  # uvicorn's own default waits for ever
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    listens = asyncio.create_task(server.listens.wait())
    try:
        await asyncio.wait((serving, listens), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():  # it never came to listen: that is an error, and this raises it
            serving.result()
        yield Listening(server, listener)
    finally:
        listens.cancel()
        server.should_exit = True
        await serving
