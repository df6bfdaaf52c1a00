"""A call with each kind of server, and its peculiarities: real sockets and Opus, simulated time."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from moshi_phone.audio.formats import FRAME_MS
from moshi_phone.engines.remote.query import CallSettings, RemoteCallSettings, make_query
from tests.engines.remote.calls import FRAME_S, Call, Owner, call_to, level, place_of, simulated
from tests.fakes.moshi_behaviour import Behaviour
from tests.fakes.moshi_server import moshi_server
from tests.support.simulated import run_simulated


@pytest.mark.parametrize("kind", ["kyutai", "rust", "personaplex"])
def test_nothing_is_sent_before_the_handshake(kind: Any) -> None:
    # Two seconds of loading, or of prompts: 25 frames that must not be answered later.
    call, server, _ = simulated(Behaviour(kind, load_s=0.2 if kind == "personaplex" else 2.0))
    (visit,) = server.visits
    assert visit.eaten == 0  # PersonaPlex eats a message for each step of its prompts
    assert len(visit.heard) <= 26  # Kyutai's processes earlier frames, and stays late
    waiting = [at_s for at_s, step in call.steps if step.pcm is None]
    assert len(waiting) >= 24  # the call's clock continues meanwhile
    assert np.allclose(np.diff(waiting), FRAME_S)
    assert max(step.timings_ms.get("server", 0) for _, step in call.steps) < FRAME_MS


def test_a_second_client_waits_and_gets_a_reason() -> None:
    async def run() -> tuple[Call, Owner]:
        async with moshi_server() as server:
            first, owner = call_to(place_of(server), Owner()), Owner()
            talking = asyncio.create_task(first.talk(100))
            await asyncio.sleep(0.5)
            second = call_to(place_of(server), owner, wait_secs=3.0)
            await second.talk(60)
            await talking
            assert server.visits[1].waited
            assert first.error == ""
            return second, owner

    second, owner = run_simulated(run())
    said = f"{second.session.display_name} sent no handshake in time (--server-wait-secs)"
    assert str(second.error).startswith(said)
    assert owner.failures == [(second.error, True)]


def test_personaplex_always_gets_both_prompts() -> None:
    call, server, _ = simulated(Behaviour("personaplex"))
    assert call.error == ""
    assert set(server.visits[0].query) == {"text_prompt", "voice_prompt"}
    assert server.loaded_voices == ["NATF2.pt"]


@pytest.mark.parametrize(
    "query",
    [
        {"voice_prompt": "NATF2.pt"},
        {"text_prompt": "x"},
        {"text_prompt": "", "voice_prompt": "NATF2.pt"},
        {"text_prompt": "x", "voice_prompt": "NATF2.pt", "seed": "1"},
    ],
)
def test_the_fake_server_fails_as_the_real_one_does(query: dict[str, str]) -> None:
    call, _, _ = simulated(Behaviour("personaplex"), 10, CallSettings(query))
    assert "closed the connection before its handshake" in call.error


def test_a_waiting_client_would_replace_a_running_persona() -> None:
    # Why there is one call a server: the second writes its persona before it waits for the lock.
    async def run() -> list[str]:
        async with moshi_server(Behaviour("personaplex", load_s=0.1)) as server:
            calls = []
            for persona in ("Anna", "Ben"):
                query = make_query(
                    RemoteCallSettings(persona, greeting="none"), place_of(server).server.profile
                )
                call = call_to(place_of(server), Owner(), CallSettings(query), wait_secs=5)
                calls.append(asyncio.create_task(call.talk(20)))
                await asyncio.sleep(0.01)
            await asyncio.gather(*calls)
            return [visit.persona for visit in server.visits]

    assert run_simulated(run())[0] == "Ben"


def test_a_normal_close_after_a_model_failure_is_a_failure() -> None:
    call, _, owner = simulated(Behaviour("personaplex", dies="model", dies_at=10))
    assert (
        call.error == f"{call.session.display_name} closed the connection after 0.8 s of the call (code 1000)"
    )
    assert owner.failures == [(call.error, True)]


def test_the_rust_backend_s_limit_on_calls_is_not_a_failure() -> None:
    settings = CallSettings({"max_steps": "60"}, limit_frames=60)
    call, server, owner = simulated(Behaviour("rust"), 100, settings)
    assert server.visits[0].query == {"max_steps": "60"}
    assert call.error == (
        f"{call.session.display_name} has reached its limit of 4.8 s a call, which Kyutai's Rust backend sets"
    )
    assert owner.failures == [(call.error, False)]


def test_an_early_end_of_the_rust_backend_is_its_failure() -> None:
    call, _, owner = simulated(Behaviour("rust", limit_frames=10), 30, CallSettings(limit_frames=4500))
    assert "closed the connection after" in call.error
    assert owner.failures == [(call.error, True)]


def test_the_model_gets_leading_silence_where_it_makes_it_speak() -> None:
    _, server, _ = simulated(Behaviour(), settings=CallSettings(silent_frames=25))
    levels = [level(frame) for frame in server.visits[0].heard]
    assert max(levels[:25]) < 0.001
    assert min(levels[26:]) > 0.15
