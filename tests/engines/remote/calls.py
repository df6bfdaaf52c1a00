"""Calls to fake servers, in simulated time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np

from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES, Pcm
from moshi_phone.engines.duplex import DuplexStep, EngineFailed
from moshi_phone.engines.remote.connection import Access
from moshi_phone.engines.remote.pool import Backend
from moshi_phone.engines.remote.query import CallSettings, RemoteCallSettings, make_query
from moshi_phone.engines.remote.server import parse_server
from moshi_phone.engines.remote.session import RemoteSession
from tests.fakes.moshi_behaviour import Behaviour
from tests.fakes.moshi_server import FakeMoshiServer, moshi_server
from tests.support.simulated import run_simulated

FRAME_S = FRAME_MS / 1000


TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(FRAME_SAMPLES) / 24_000)).astype(np.float32)  # whole periods


def level(pcm: Pcm) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(pcm))))


@dataclass
class Owner:
    """Records what a session reports to its engine."""

    reached: int = 0
    failures: list[tuple[str, bool]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    others: list[Backend] = field(default_factory=list)

    def on_reached(self, backend: Backend) -> None:
        self.reached += 1

    def move(self, backend: Backend, error: str) -> Backend | None:
        self.failures.append((error, True))
        return self.others.pop(0) if self.others else None

    def on_failed(self, backend: Backend, error: str, *, server_failed: bool) -> None:
        self.failures.append((error, server_failed))

    def on_closed(self, session: RemoteSession, backend: Backend) -> None:
        self.closed.append(backend.server.name)


@dataclass
class Call:
    """A caller who speaks frames in real time, and records the answers."""

    session: RemoteSession
    steps: list[tuple[float, DuplexStep]] = field(default_factory=list)
    error: str = ""
    most_behind: int = 0

    async def talk(self, frames: int, said: Pcm = TONE) -> None:
        loop = asyncio.get_running_loop()
        listening = asyncio.create_task(self._listen())
        began_s = loop.time()
        for number in range(frames):
            await asyncio.sleep(began_s + number * FRAME_S - loop.time())
            self.session.feed(said)
            self.most_behind = max(self.most_behind, self.session.backlog_frames)
        await asyncio.sleep(FRAME_S)
        await self.session.close()
        await listening

    async def _listen(self) -> None:
        try:
            async for step in self.session.outputs():
                self.steps.append((asyncio.get_running_loop().time(), step))
        except EngineFailed as error:
            self.error = str(error)

    @property
    def heard(self) -> list[tuple[float, Pcm]]:
        return [(at_s, step.pcm) for at_s, step in self.steps if step.pcm is not None]

    @property
    def text(self) -> str:
        return "".join(step.text for _, step in self.steps)


def place_of(server: FakeMoshiServer) -> Backend:
    return Backend(parse_server(f"{server.url}#{server.behaviour.kind}", "kyutai"), 1)


def call_to(
    backend: Backend, owner: Owner, settings: CallSettings | None = None, wait_secs: float = 20.0
) -> Call:
    def settings_for(one: Backend) -> CallSettings:
        return settings or CallSettings(make_query(RemoteCallSettings(greeting="none"), one.server.profile))

    return Call(
        RemoteSession(owner, backend, Access(), settings_for=settings_for, wait_secs=wait_secs, coder=None)
    )


def simulated(
    behaviour: Behaviour,
    frames: int = 50,
    settings: CallSettings | None = None,
    wait_secs: float = 20.0,
    said: Pcm = TONE,
) -> tuple[Call, FakeMoshiServer, Owner]:
    """Run one call with one server."""

    async def run() -> tuple[Call, FakeMoshiServer, Owner]:
        owner = Owner()
        async with moshi_server(behaviour) as server:
            call = call_to(place_of(server), owner, settings, wait_secs)
            await call.talk(frames, said)
            return call, server, owner

    return run_simulated(run())
