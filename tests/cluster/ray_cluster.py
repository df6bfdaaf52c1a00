"""A whole cluster as a user starts it: ``bot.py cluster`` with Ray, and Twilio in front of it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import psutil

from moshi_phone.runtime.ports import free_port
from moshi_phone.runtime.stop_signals import REPEAT_SECS
from tests.cluster.local_cluster import PUBLIC, SMALL_PARROT
from tests.fakes.twilio_api import AUTH_TOKEN
from tests.fakes.twilio_voice import FakeTwilioVoice
from tests.support.ports import free_ports
from tests.support.program import Program, program

TWIML = f"{PUBLIC}/twiml"
NAMES = 8


def call_sid(number: int) -> str:
    return f"CA{number:032x}"


@dataclass
class RayCluster:
    """A running cluster.

    Attributes:
        program: the command.
        address: of its gateways.
        admin: of the gateways' monitoring.
        control_port: of ``cluster update``.
        voice: Twilio's part.
        worker_port: of w1.
        again: starts the command again, with the same options.
    """

    program: Program
    address: str
    admin: str
    control_port: int
    voice: FakeTwilioVoice
    worker_port: int
    again: Callable[[], AbstractAsyncContextManager[Program]]

    async def takes_calls(self) -> None:
        """Wait until the command reports it."""
        await asyncio.wait_for(self.program.says("workers take calls"), 120)

    @property
    def environment(self) -> dict[str, str]:
        return {"TWILIO_AUTH_TOKEN": AUTH_TOKEN, "MOSHI_CONTROL_PORT": str(self.control_port)}

    async def health(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as http, http.get(f"http://{self.admin}/healthz") as answer:
            told: dict[str, Any] = await answer.json()
            return told

    async def calls(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as http, http.get(f"http://{self.admin}/calls") as answer:
            told: dict[str, Any] = json.loads(await answer.text())
            return told

    async def metrics(self) -> str:
        async with aiohttp.ClientSession() as http, http.get(f"http://{self.admin}/metrics") as answer:
            return await answer.text()

    async def turns(self, call_sid: str) -> dict[str, Any]:
        """Return a call's turns, as its page receives them."""
        url = f"http://{self.admin}/calls/{call_sid}/events"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            async for line in answer.content:
                if line == b"event: turns\n":
                    told: dict[str, Any] = json.loads((await answer.content.readline())[len(b"data:") :])
                    return told
        raise AssertionError("the call is over")

    async def states(self) -> dict[str, str]:
        return {one["name"]: one["state"] for one in (await self.health())["workers"]}

    async def until_states(self, states: dict[str, str], within_secs: float = 90.0) -> None:
        """Wait until the gateway reports these states of the workers."""
        async with asyncio.timeout(within_secs):
            while await self.states() != states:  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    def process_at(self, port: int) -> psutil.Process:
        """Find the process that listens on a port."""
        return next(
            psutil.Process(one.pid)
            for one in psutil.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN and getattr(one.laddr, "port", None) == port and one.pid
        )

    def gateways(self) -> list[psutil.Process]:
        """Find the processes of the listening gateways. The command holds their socket, too."""
        port = int(self.address.rpartition(":")[2])
        return [one for one in actors("_GatewayActor") if _has(one, port, psutil.CONN_LISTEN)]

    def is_asked(self, gateway: psutil.Process) -> bool:
        """Whether a gateway has a connection from Twilio."""
        port = int(self.address.rpartition(":")[2])
        return _has(gateway, port, psutil.CONN_ESTABLISHED)


def actors(kind: str) -> list[psutil.Process]:
    return [one for one in psutil.process_iter() if _command_line(one).startswith(f"ray::{kind}")]


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""  # it is gone


def _has(process: psutil.Process, port: int, status: str) -> bool:
    try:
        found = process.net_connections("tcp")
    except psutil.Error:
        return False
    return any(one.status == status and one.laddr.port == port for one in found)


@asynccontextmanager
async def ray_cluster(*arguments: str, workers: int = 3, **environment: str) -> AsyncIterator[RayCluster]:
    """Run a cluster of small parrots until all of its workers take calls; stop it at the end."""
    port, admin, control = free_port(), free_port(), free_port()
    base = free_ports(NAMES)
    options = {
        "--workers": workers,
        "--engine": SMALL_PARROT,
        "--port": port,
        "--admin-port": admin,
        "--control-port": control,
        "--worker-port": base,
        "--public-url": PUBLIC,
        "--worker-url": "wss://{name}.example.com",
        "--drain-secs": 30,
    }
    given = (*(str(part) for pair in options.items() for part in pair), *arguments)
    hosts = {f"w{n}.example.com": f"127.0.0.1:{base + n - 1}" for n in range(1, NAMES + 1)}
    address = f"127.0.0.1:{port}"
    voice = FakeTwilioVoice(PUBLIC, address, hosts)
    async with _command(given, environment) as first:
        cluster = RayCluster(
            first, address, f"127.0.0.1:{admin}", control, voice, base, partial(_command, given, environment)
        )
        await cluster.takes_calls()
        yield cluster


@asynccontextmanager
async def _command(arguments: Sequence[str], environment: dict[str, str]) -> AsyncIterator[Program]:
    """Start the command; stop it with a signal at the end if it still runs."""
    async with program(
        "cluster", *arguments, environment={"TWILIO_AUTH_TOKEN": AUTH_TOKEN, **environment}
    ) as command:
        try:
            yield command
        finally:
            with suppress(ProcessLookupError):  # a test may have ended it
                for _ in range(2):  # the second does not wait for calls
                    command.signal(signal.SIGTERM)
                    await asyncio.sleep(REPEAT_SECS)
            await asyncio.wait_for(command.ends(), 60)
