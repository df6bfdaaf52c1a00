"""``python bot.py serve``: answer calls."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import sys

import click
import uvicorn
from loguru import logger

from bot import run_call
from commands.errors import Unusable, explained
from commands.options import takes
from engines.choose import choose_engine
from engines.options import EngineOptions
from telephony.options import ServerOptions
from telephony.server import Line, create_app


@click.command()
@takes(EngineOptions)
@takes(ServerOptions)
def serve(engine_options: EngineOptions, server_options: ServerOptions) -> None:
    """Answer calls at ws://HOST:PORT/stream."""
    logger.remove()
    logger.add(
        sys.stderr, level=server_options.log_level.upper(), format="{time:HH:mm:ss} {level: <7} {message}"
    )
    with explained():
        asyncio.run(_serve(engine_options, server_options))


async def _serve(engine_options: EngineOptions, server_options: ServerOptions) -> None:
    listener = listen(server_options.host, server_options.port)
    engine, why = choose_engine(engine_options)
    logger.info(why)
    app = create_app(Line(engine, server_options), run_call)
    server = uvicorn.Server(uvicorn_config(app))
    try:
        await engine.start(logger.info)
        # What is loaded now stays: without this the garbage collector looks at all of it in mid-call.
        gc.collect()
        gc.freeze()
        host, port = listener.getsockname()[:2]
        logger.info("Answering calls at ws://{}:{}/stream", host, port)
        await server.serve(sockets=[listener])
    finally:
        await engine.stop()


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything slow is loaded.

    Raises:
        Unusable: when it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Unusable(f"Port {port} is taken; choose another with --port.") from error
        raise Unusable(
            f"Cannot listen on {host}:{port} ({error.strerror}); choose another --host."
        ) from error
    return listener


def uvicorn_config(app: object) -> uvicorn.Config:
    """Set uvicorn for a phone line: small messages, and no compression, which Twilio never asks for."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_level="warning",
        access_log=False,
        ws_per_message_deflate=False,
        ws_max_size=1 << 20,
    )
