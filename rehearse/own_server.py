"""Starts the server that is rehearsed: the real program, in a process of its own, on a free port.

A process of its own keeps the caller's clock honest: a model that holds the interpreter would otherwise
hold the measuring up as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from rehearse.status_client import StatusClient

BOT = Path(__file__).resolve().parent.parent / "bot.py"
PUBLIC_URL = "https://rehearsal.example"
"""A name that nobody looks up: what the webhook's signature is made for."""
_LOOK_EVERY_S = 0.1
_STOP_SECS = 10.0
_LINES_KEPT = 40


class ServerFailed(Exception):
    """The server did not get ready; the text is its own last word."""


class OwnServer:
    """A server for the time of an ``async with`` block.

    It is as public as one behind a tunnel: it has an auth token, made up here, checks signatures and wants
    the stream's token; but it has no account, so that it cannot call Twilio.

    Args:
        settings: environment variables that say which engine answers, and how it is set.
        say: told each line that the server logs until it is ready.
    """

    def __init__(self, settings: Mapping[str, str], say: Callable[[str], None] = lambda _: None) -> None:
        self.port = _free_port()
        self.url = f"ws://127.0.0.1:{self.port}/stream"
        self.auth_token = secrets.token_hex(16)
        self.password = secrets.token_hex(16)
        self.ready_s = 0.0
        self.log: deque[str] = deque(maxlen=_LINES_KEPT)
        self._say = say
        self._settings = {
            **settings,
            "TWILIO_ACCOUNT_SID": "",
            "TWILIO_AUTH_TOKEN": self.auth_token,
            "TWILIO_NUMBER": "",
            "PUBLIC_URL": PUBLIC_URL,
            "MOSHI_TUNNEL": "0",
            "MOSHI_INSECURE": "0",
            "MOSHI_WEB": "1",
            "MOSHI_WEB_PASSWORD": self.password,
            "MOSHI_HOST": "127.0.0.1",
            "MOSHI_PORT": str(self.port),
            "MOSHI_LOG_LEVEL": "info",
            "MOSHI_DRAIN_SECS": "0",
            "MOSHI_METER": "1",
        }
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start it, and wait until it is ready.

        Raises:
            ServerFailed: when it ends instead.
        """
        began_s = time.perf_counter()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(BOT),
            "serve",
            env={**os.environ, **self._settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reading = asyncio.create_task(self._read(self._process))
        try:
            await self._ready(self._process)
        except BaseException:
            await self.__aexit__()
            raise
        self.ready_s = time.perf_counter() - began_s
        self._say = lambda _: None
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it, by force if it does not go."""
        assert self._process is not None and self._reading is not None  # noqa: S101, PT018 - it was entered
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        word = StatusClient(self.url)
        while process.returncode is None:
            health = await word.health()
            if health and health.get("ready"):
                return
            await asyncio.sleep(_LOOK_EVERY_S)
        assert self._reading is not None  # noqa: S101 - it was entered
        await self._reading
        last = self.log[-1] if self.log else f"it ended with code {process.returncode}"
        raise ServerFailed(last.removeprefix("Error: "))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None  # noqa: S101 - it was asked for
        async for line in process.stderr:
            text = line.decode(errors="replace").rstrip()
            if text:
                self.log.append(text)
                self._say(text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
