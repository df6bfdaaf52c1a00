"""Servers as one engine: which server gets a call, with which settings, and when it is out. Real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from moshi_phone.audio.formats import FRAME_SAMPLES
from moshi_phone.engines.choose import create_engine
from moshi_phone.engines.duplex import (
    CallOverrides,
    DuplexSession,
    EngineBusy,
    EngineUnavailable,
    RequestRefused,
)
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.remote.engine import RemoteEngine
from moshi_phone.engines.remote.options import RemoteOptions
from moshi_phone.engines.remote.query import RemoteCallSettings
from tests.fakes.moshi_behaviour import Behaviour
from tests.fakes.moshi_server import FakeMoshiServer, moshi_server
from tests.support.logs import Logged

SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


@asynccontextmanager
async def started(engine: RemoteEngine) -> AsyncIterator[list[str]]:
    """Start the engine; return its progress messages."""
    said: list[str] = []
    await engine.start(said.append)
    try:
        yield said
    finally:
        await engine.stop()


def engine_for(*servers: FakeMoshiServer, **options: object) -> RemoteEngine:
    given = tuple(f"{server.url}#{server.behaviour.kind}" for server in servers)
    return RemoteEngine(RemoteOptions(server=given, **options), RemoteCallSettings(greeting="none"))  # type: ignore[arg-type]


async def reach(session: DuplexSession) -> None:
    """Speak until the model answers."""

    async def speak() -> None:
        while True:
            session.feed(SILENCE)
            await asyncio.sleep(0.01)

    speaking = asyncio.create_task(speak())
    try:
        async for step in session.outputs():
            if step.pcm is not None:
                return
    finally:
        speaking.cancel()


# What a call is set by.


async def test_each_kind_gets_its_supported_settings() -> None:
    async with (
        moshi_server(Behaviour("kyutai")) as kyutai,
        moshi_server(Behaviour("rust", swallows=0)) as rust,
        moshi_server(Behaviour("personaplex")) as personaplex,
    ):
        given = tuple(f"{one.url}#{one.behaviour.kind}" for one in (kyutai, rust, personaplex))
        options = EngineOptions(
            seed=7,
            persona="You are Anna.",
            voice="NATM1",
            greeting="none",
            remote=RemoteOptions(server=given, max_steps=1000),
        )
        engine = create_engine(options).engine
        assert isinstance(engine, RemoteEngine)
        async with started(engine):
            sessions = [engine.open_session() for _ in range(3)]
            await asyncio.gather(*(reach(session) for session in sessions))
        assert kyutai.visits[0].query == {}
        assert rust.visits[0].query == {
            "text_temperature": "0.7",
            "text_topk": "25",
            "audio_temperature": "0.8",
            "audio_topk": "250",
            "max_steps": "1000",
            "text_seed": "7",
            "audio_seed": "7",
        }
        assert personaplex.visits[0].query == {"text_prompt": "You are Anna.", "voice_prompt": "NATM1.pt"}
        assert personaplex.visits[0].eaten == 0


async def test_two_calls_with_two_personas() -> None:
    behaviour = Behaviour("personaplex", load_s=0.005)
    async with moshi_server(behaviour) as one, moshi_server(behaviour) as two:
        engine = engine_for(one, two)
        async with started(engine):
            assert engine.supported_overrides == {"persona", "voice", "greeting"}
            requests = [
                CallOverrides("You are Anna.", "NATF0"),
                CallOverrides("You are Ben.", greeting="Hi."),
            ]
            sessions = [engine.open_session(request) for request in requests]
            await asyncio.gather(*(reach(session) for session in sessions))
        assert [server.visits[0].persona for server in (one, two)] == [
            "You are Anna.",
            'You are Ben. You speak first and say: "Hi."',
        ]
        assert [server.loaded_voices for server in (one, two)] == [["NATF0.pt"], ["NATF2.pt"]]


async def test_a_request_that_no_server_supports_is_refused() -> None:
    async with moshi_server(Behaviour("personaplex")) as prompted, moshi_server() as plain:
        engine = engine_for(prompted)
        with pytest.raises(RequestRefused, match=r"has no voice '\.\./x'"):
            engine.prepare(CallOverrides(voice="../x"))
        with pytest.raises(RequestRefused, match="takes no temperature for a call"):
            engine.prepare(CallOverrides(temperature=0.5))
        with pytest.raises(RequestRefused, match="takes no persona for a call"):
            # Whichever server takes the call must be able to.
            engine_for(prompted, plain).open_session(CallOverrides("You are Anna."))


async def test_unsupported_and_risky_options_are_reported() -> None:
    async with moshi_server() as kyutai, moshi_server(Behaviour("rust")) as rust:
        given = (kyutai.url, f"{rust.url}#rust")
        options = RemoteOptions(server=given, calls_per_server=2, server_token="s3cret")
        async with started(
            RemoteEngine(options, RemoteCallSettings("You are Anna.", greeting="silence"))
        ) as said:
            text = "\n".join(said)
        name = kyutai.url.removeprefix("ws://")
        assert f"Server {name} (Kyutai's Python server): it answers." in said
        assert "Kyutai's Python server serves one caller at a time" in text
        assert "--calls-per-server 2 needs" in text
        assert "Kyutai's Rust backend serves one" not in text
        assert f"--server-token goes to {name} unencrypted" in text
        assert "--persona has no effect there" in text
        assert "--greeting silence has no effect there" in text
        assert "Ready for 4 calls at once." in said
        assert "s3cret" not in text


# The server that gets a call.


async def test_the_capacity_is_the_sum_of_the_available_servers() -> None:
    async with moshi_server(Behaviour("rust")) as one, moshi_server(Behaviour("rust")) as two:
        engine = engine_for(one, two, calls_per_server=2)
        with pytest.raises(EngineBusy, match="The servers have not been probed"):
            engine.open_session()
        async with started(engine):
            assert (engine.capacity, engine.running) == (4, 0)
            sessions = [engine.open_session() for _ in range(4)]
            assert [server.calls for server in engine.servers] == [2, 2]
            with pytest.raises(EngineBusy, match="at capacity"):
                engine.open_session()
            await sessions[0].close()
            await sessions[0].close()
            assert (engine.capacity, engine.running) == (4, 3)
            engine.open_session()
        assert engine.running == 0
        assert (one.talking, two.talking) == (0, 0)


async def test_it_starts_with_the_available_servers() -> None:
    async with moshi_server() as there, moshi_server() as gone:
        await gone.kill()
        engine = engine_for(there, gone)
        async with started(engine) as said:
            assert engine.capacity == 1
            assert engine.error is None
            assert any("cannot be reached (" in line for line in said)
            assert [server.error is None for server in engine.servers] == [True, False]


async def test_it_does_not_start_without_an_available_server() -> None:
    async with moshi_server() as gone:
        engine = engine_for(gone)
    with pytest.raises(EngineUnavailable, match=r"cannot be reached \(.+\)\. Start a server, or correct"):
        await engine.start(lambda _: None)
    assert engine.error is not None
    await engine.stop()


async def test_a_call_whose_server_is_gone_goes_to_the_next(logged: Logged) -> None:
    async with moshi_server() as one, moshi_server() as two:
        engine = engine_for(one, two)
        async with started(engine):
            await one.kill()
            session = engine.open_session()
            await reach(session)
            assert [server.calls for server in engine.servers] == [0, 1]
            assert (engine.capacity, engine.lost_calls) == (1, 0)
            await session.close()
            await one.start()
            await logged.says(f"Server {one.url.removeprefix('ws://')} answers again")
            assert engine.capacity == 2


async def test_without_its_server_the_engine_is_busy() -> None:
    async with moshi_server() as server:
        engine = engine_for(server)
        async with started(engine):
            await server.kill()
            session = engine.open_session()
            with pytest.raises(Exception, match="cannot be reached"):
                await reach(session)
            await session.close()
            assert engine.lost_calls == 1
            assert (engine.capacity, engine.running) == (0, 0)
            with pytest.raises(
                EngineBusy, match=f"Server {server.url.removeprefix('ws://')} cannot be reached"
            ):
                engine.open_session()


# Errors are reported at once.


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "--engine remote needs a server"),
        (("ws://a:1", "ws://a:1#rust"), "--server names a:1 twice"),
        (("nonsense",), "expected a URL like ws://gpu-1:8998"),
    ],
)
def test_invalid_options_are_refused(given: tuple[str, ...], said: str) -> None:
    with pytest.raises(EngineUnavailable, match=said):
        RemoteEngine(RemoteOptions(server=given))


def test_naming_a_server_selects_the_remote_engine() -> None:
    named = EngineOptions(remote=RemoteOptions(server=("ws://a:1",)))
    assert create_engine(named).engine.name == "remote"
    assert create_engine(named).line == ("Engine: remote, at a:1; --engine parrot answers without a server.")
    parrot = EngineOptions(engine="parrot", remote=RemoteOptions(server=("ws://a:1",)))
    assert create_engine(parrot).engine.name == "parrot"
