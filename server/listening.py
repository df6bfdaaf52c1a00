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


@asynccontextmanager
async def listening(config: uvicorn.Config, listener: socket.socket) -> AsyncIterator[None]:
    """Answer requests on this socket while the block runs. What still runs at its end is cut off."""
    config.timeout_graceful_shutdown = CUT_OFF_SECS  # uvicorn's own default waits for ever
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    listens = asyncio.create_task(server.listens.wait())
    try:
        await asyncio.wait((serving, listens), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield
    finally:
        listens.cancel()
        server.should_exit = True
        await serving
