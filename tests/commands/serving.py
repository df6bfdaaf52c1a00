"""The command serve, running in a test."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import pytest

import moshi_phone.commands.serve as module
from bot import run_call
from moshi_phone.server import lifecycle as running
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.options import ReachOptions, TwilioOptions
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, FakeTwilioApi


def options(twilio: FakeTwilioApi, **reach: object) -> Settings:
    return Settings(
        server=ServerOptions(port=0),
        twilio=TwilioOptions(ACCOUNT_SID, AUTH_TOKEN, twilio.url),
        reach=ReachOptions(tunnel_wait_secs=0, **reach),  # type: ignore[arg-type]
    )


class Serving:
    """``serve`` in a task, and a phone that talks to it."""

    def __init__(
        self, made: Settings, monkeypatch: pytest.MonkeyPatch, number: str | None = None, *more: str
    ) -> None:
        self.address = ""
        listen = running.listen

        def observations(host: str, port: int) -> socket.socket:
            listener = listen(host, port)
            self.address = f"127.0.0.1:{listener.getsockname()[1]}"
            return listener

        monkeypatch.setattr(module, "listen", observations)
        self.task = asyncio.ensure_future(
            module._serve(made, run_call, [*([number] if number else []), *more])
        )

    async def signal(self) -> None:
        """Send this process a signal."""
        os.kill(os.getpid(), signal.SIGTERM)
