"""Starts the server that is rehearsed: the real program, in a process of its own, on a free port.

A process of its own keeps the caller's clock honest: a model that holds the interpreter would otherwise
hold the measuring up as well.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from moshi_phone.rehearse.status_client import StatusClient
from moshi_phone.runtime.child_process import ChildProcess
from moshi_phone.runtime.errors import UserError
from moshi_phone.runtime.ports import free_port

_BOT = Path(__file__).resolve().parents[2] / "bot.py"
PROGRAM = [str(_BOT)] if _BOT.exists() else ["-m", "moshi_phone.bot"]  # where it is installed as a package
PUBLIC_URL = "https://rehearsal.example"
"""A name that nobody looks up: what the webhook's signature is made for."""
_LOOK_EVERY_S = 0.1
_STOP_SECS = 10.0


class ServerFailed(UserError):
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
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}/stream"
        self.auth_token = secrets.token_hex(16)
        self.password = secrets.token_hex(16)
        self.ready_s = 0.0
        self._say = say
        # All that must not come from the user's own environment or .env is said here, also where it is empty.
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
            "MOSHI_DRAIN_SECS": "0",  # its only callers are ours, and they have hung up
            "MOSHI_METER": "1",
            "MOSHI_ADMIN_PORT": "",
            "MOSHI_LOG_FORMAT": "text",
            "MOSHI_CONFIG": "",
        }
        self._process: ChildProcess | None = None

    async def __aenter__(self) -> Self:
        """Start it, and wait until it is ready.

        Raises:
            ServerFailed: when it ends instead.
        """
        began_s = time.perf_counter()
        self._process = process = await ChildProcess.start(
            [sys.executable, *PROGRAM, "serve"],
            grace_secs=_STOP_SECS,
            on_line=self._hear,
            env={**os.environ, **self._settings},
        )
        try:
            await self._ready(process)
        except BaseException:
            await self.__aexit__()
            raise
        self.ready_s = time.perf_counter() - began_s
        self._say = lambda _: None
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop it, by force if it does not go."""
        assert self._process is not None  # noqa: S101 - it was entered
        await self._process.stop()

    def _hear(self, line: str) -> None:
        # No advice on a URL that nobody can open, and on a page that is gone in a moment.
        if PUBLIC_URL not in line and "Talk to it" not in line:
            self._say(line)

    async def _ready(self, process: ChildProcess) -> None:
        word = StatusClient(self.url)
        while process.returncode is None:
            health = await word.health()
            if health and health.get("ready"):
                return
            await asyncio.sleep(_LOOK_EVERY_S)
        code = await process.wait()
        last = process.lines[-1] if process.lines else f"it ended with code {code}"
        raise ServerFailed(last.removeprefix("Error: "))
