"""Runs the HTTP server inside a program that has more to do than that."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

CUT_OFF_SECS = 2  # calls have had their time to finish before; a request has this much


class _QuietServer(uvicorn.Server):
    """uvicorn without its own way with signals, which would cut every call off."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(config: uvicorn.Config, listener: socket.socket) -> AsyncIterator[None]:
    """Answer requests on this socket while the block runs. What still runs at its end is cut off."""
    config.timeout_graceful_shutdown = CUT_OFF_SECS
    server = _QuietServer(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving
