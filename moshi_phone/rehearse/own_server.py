"""The server under rehearsal: the real program, in a separate process, on a free port.

In the caller's own process, a model that holds the interpreter's lock would delay the measurements.
"""

from __future__ import annotations

import asyncio
import os
import re
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
PROGRAM = [str(_BOT)] if _BOT.exists() else ["-m", "moshi_phone.bot"]  # when installed as a package
PUBLIC_URL = "https://rehearsal.example"
"""The URL that the webhook's signature covers. The name is never resolved."""
_LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?P<level>[A-Z]+)")
_LOOK_EVERY_S = 0.1
_STOP_SECS = 10.0


class OwnServerFailed(UserError):
    """The server did not become ready; the message is its last line of output."""


class OwnServer:
    """A server that runs during an ``async with`` block.

    It behaves like a public server behind a tunnel: with a generated auth token, it checks signatures and
    stream tokens. It has no account, so it cannot call Twilio.

    Args:
        settings: environment variables that select and configure the engine.
        say: called with each log line until the server is ready; then with warnings, errors and tracebacks.
    """

    def __init__(self, settings: Mapping[str, str], say: Callable[[str], None] = lambda _: None) -> None:
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}/stream"
        self.auth_token = secrets.token_hex(16)
        self.password = secrets.token_hex(16)
        self.ready_s = 0.0  # duration of its start
        self._say = say
        self._is_ready = False  # until then, all of its log is shown
        self._shows = True  # whether the last log line was shown; lines of a traceback follow it
        # Explicit values, some empty, override the user's environment and .env.
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
            "MOSHI_DRAIN_SECS": "0",  # its only callers have hung up
            "MOSHI_METER": "1",
            "MOSHI_ADMIN_PORT": "",
            "MOSHI_LOG_FORMAT": "text",
            "MOSHI_CONFIG": "",
        }
        self._process: ChildProcess | None = None  # inside the ``async with`` block only

    async def __aenter__(self) -> Self:
        """Start the server, and wait until it is ready.

        Raises:
            OwnServerFailed: when it exits instead.
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
        self._is_ready = True
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the server, by force if necessary."""
        assert self._process is not None  # noqa: S101 - it was entered
        await self._process.stop()

    def _hear(self, line: str) -> None:
        if logged := _LOGGED.match(line):
            self._shows = not self._is_ready or logged["level"] not in ("DEBUG", "INFO")
        # Hide lines about a URL that does not exist and a page that is about to close, and the error with
        # which the server ends before it is ready: OwnServerFailed has it.
        is_last = not self._is_ready and line.startswith("Error: ")
        if self._shows and not is_last and PUBLIC_URL not in line and "Talk to it" not in line:
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
        raise OwnServerFailed(last.removeprefix("Error: "))
