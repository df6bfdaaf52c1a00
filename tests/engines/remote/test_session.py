"""A call with a server, its messages and its failures: real sockets and Opus, simulated time."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES
from moshi_phone.engines.step_queue import UNREAD_STEPS
from tests.engines.remote.calls import FRAME_S, TONE, Call, Owner, call_to, level, place_of, simulated
from tests.fakes.moshi_behaviour import Behaviour
from tests.fakes.moshi_server import FakeMoshiServer, moshi_server
from tests.support.simulated import run_simulated


@pytest.mark.parametrize("kind", ["kyutai", "rust", "personaplex"])
@pytest.mark.parametrize("swallows", [0, 1, 3])
def test_a_call_is_answered_frame_by_frame(kind: Any, swallows: int) -> None:
    call, server, owner = simulated(Behaviour(kind, swallows=swallows, words=(" Hello", " there")))
    (visit,) = server.visits
    assert len(call.heard) == len(visit.heard) - swallows
    assert len(call.heard) >= 44
    assert level(call.heard[-1][1]) == pytest.approx(level(TONE), abs=0.02)
    assert call.text == " Hello there"
    assert (call.error, owner.failures) == ("", [])
    assert owner.closed == [call.session.display_name.removeprefix("Server ")]
    # No stage of ours waits for a second frame: each answer arrives at the time of its frame.
    gaps = np.diff([at_s for at_s, _ in call.heard])
    assert np.allclose(gaps, FRAME_S)
    assert call.session.dropped_frames == 0
    assert visit.unknown_kinds == []


@pytest.mark.parametrize("swallows", [1, 4])
def test_swallowed_frames_are_not_backlog(swallows: int) -> None:
    call, _, _ = simulated(Behaviour(swallows=swallows))
    assert call.most_behind == swallows + 1  # only until the first answer
    timings = call.steps[-1][1].timings_ms
    assert set(timings) == {"opus", "wire", "server"}


def test_the_server_s_share_of_the_delay_is_reported() -> None:
    call, _, _ = simulated(Behaviour(step_s=0.05))
    timings = call.steps[-1][1].timings_ms
    assert timings["server"] + timings["opus"] + timings["wire"] == pytest.approx(50, abs=0.1)
    assert timings["server"] >= 30  # Opus takes its real time here, which the simulated clock leaves out


def test_a_closed_session_ignores_frames() -> None:
    call, _, owner = simulated(Behaviour(), frames=5)
    call.session.feed(TONE)
    assert len(owner.closed) == 1


def test_a_cancelled_close_still_returns_the_lease() -> None:
    async def run() -> None:
        owner = Owner()
        async with moshi_server(Behaviour()) as server:
            session = call_to(place_of(server), owner).session
            await asyncio.sleep(1.0)  # it has reached the server, and is to say goodbye to it
            closing = asyncio.create_task(session.close())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            assert len(owner.closed) == 1
            await session.close()
            assert len(owner.closed) == 1

    run_simulated(run())


def test_only_whole_frames_are_taken() -> None:
    async def run() -> None:
        async with moshi_server() as server:
            session = call_to(place_of(server), Owner()).session
            with pytest.raises(ValueError, match=r"expected float32 \[1920\], got float64 \[1920\]"):
                session.feed(np.zeros(FRAME_SAMPLES))  # type: ignore[arg-type]
            await session.close()
            await session.close()

    run_simulated(run())


def test_unread_steps_are_dropped_oldest_first() -> None:
    async def run() -> None:
        async with moshi_server(Behaviour(swallows=0)) as server:
            session = call_to(place_of(server), Owner()).session
            for _ in range(100):
                session.feed(TONE)
                await asyncio.sleep(FRAME_S)
            assert session.backlog_frames == UNREAD_STEPS
            await session.close()

    run_simulated(run())


def test_a_missing_handshake_is_a_failure_of_the_server() -> None:
    _, _, owner = simulated(Behaviour(handshakes=False), frames=150)
    assert owner.failures == [(owner.failures[0][0], True)]
    assert "sent no handshake for 12 s" in owner.failures[0][0]


def test_a_caller_s_early_hang_up_is_not_a_failure_of_the_server() -> None:
    _, _, owner = simulated(Behaviour(handshakes=False), frames=20)
    assert owner.failures == []
    assert len(owner.closed) == 1


@pytest.mark.parametrize("kind", ["kyutai", "rust", "personaplex"])
def test_unused_message_kinds_are_skipped(kind: Any) -> None:
    call, server, _ = simulated(Behaviour(kind, babbles=True))
    assert call.error == ""
    assert len(call.heard) >= 44
    assert server.visits[0].unknown_kinds == []


def test_pages_split_over_messages_are_joined() -> None:
    call, server, _ = simulated(Behaviour(splits=True))
    assert len(call.heard) == len(server.visits[0].heard) - 1
    assert level(call.heard[-1][1]) == pytest.approx(level(TONE), abs=0.02)


@pytest.mark.parametrize("splits", [False, True])
def test_garbage_in_pages_becomes_silence_and_loses_no_frame(splits: bool) -> None:
    call, server, _ = simulated(Behaviour(garbles=True, splits=splits), frames=60)
    assert call.error == ""
    assert len(call.heard) == len(server.visits[0].heard) - 1
    assert np.median([level(pcm) for _, pcm in call.heard]) == pytest.approx(level(TONE), abs=0.02)


def test_an_error_ends_the_call_with_the_server_s_own_words() -> None:
    call, _, owner = simulated(Behaviour(error="CUDA out of\nmemory"))
    assert call.error == f"{call.session.display_name} reports an error: CUDA out of memory"
    assert owner.failures == [(call.error, True)]


def test_a_server_at_half_speed_causes_gaps_and_no_delay() -> None:
    call, _, owner = simulated(Behaviour(step_s=2 * FRAME_S), frames=250)
    assert owner.failures == []
    assert call.most_behind <= 8  # 7 before the first answer, 5 after it
    assert call.session.dropped_frames == pytest.approx(125, abs=10)
    assert len(call.heard) == pytest.approx(125, abs=10)
    late_ms = [step.timings_ms["server"] for _, step in call.steps[20:]]
    assert max(late_ms) <= 4 * 2 * FRAME_MS
    gaps = np.diff([at_s for at_s, _ in call.heard])
    assert np.allclose(gaps, 2 * FRAME_S)  # it is never idle


def test_a_server_that_falls_silent_has_failed_when_its_call_ends() -> None:
    call, _, owner = simulated(Behaviour(silent_at=20), frames=80)
    assert call.error == ""  # the line itself ends such a call, after --hang-secs
    assert "gave no answer for" in owner.failures[0][0]
    assert call.session.backlog_frames > 0


@pytest.mark.parametrize(
    ("dies", "said"),
    [
        ("waiting", "closed the connection before its handshake (no close frame)"),
        ("handshake", "closed the connection after 0.0 s of the call (no close frame)"),
        ("first frame", "closed the connection after"),
        ("talk", "closed the connection after 0.8 s of the call (no close frame)"),
    ],
)
@pytest.mark.parametrize("kind", ["kyutai", "rust"])
def test_a_server_that_dies_ends_the_call_with_one_sentence(kind: Any, dies: Any, said: str) -> None:
    call, _, owner = simulated(Behaviour(kind, dies=dies))
    assert call.error.startswith(f"{call.session.display_name} {said}")
    assert owner.failures == [(call.error, True)]
    assert len(owner.closed) == 1


def test_a_server_that_refuses_the_websocket_is_named() -> None:
    call, _, owner = simulated(Behaviour(dies="upgrade"), frames=5)
    assert call.error == f"{call.session.display_name} answers with an error (HTTP 500)"
    assert owner.failures[0] == (call.error, True)


def test_a_call_of_an_unreachable_server_goes_to_another() -> None:
    async def run() -> tuple[Call, Owner, str]:
        async with moshi_server() as gone, moshi_server() as there:
            await gone.kill()
            owner = Owner(others=[place_of(there)])
            call = call_to(place_of(gone), owner)
            await call.talk(50)
            assert len(there.visits[0].heard) >= 48
            return call, owner, gone.url.removeprefix("ws://")

    call, owner, gone = run_simulated(run())
    assert call.error == ""
    assert len(call.heard) >= 47
    assert len(owner.failures) == 1
    assert owner.failures[0][0].startswith(f"Server {gone} cannot be reached (")
    assert owner.closed == [call.session.display_name.removeprefix("Server ")]


def test_no_other_server_is_tried_after_one_has_heard_the_caller() -> None:
    # Its model knew the conversation; another's would start from the beginning.
    async def run() -> tuple[Call, FakeMoshiServer]:
        async with moshi_server(Behaviour(dies="talk")) as dying, moshi_server() as other:
            call = call_to(place_of(dying), Owner(others=[place_of(other)]))
            await call.talk(50)
            return call, other

    call, other = run_simulated(run())
    assert "closed the connection" in call.error
    assert other.visits == []


def test_our_own_error_ends_the_call_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("as asked")

    monkeypatch.setattr("moshi_phone.engines.remote.session.decode", broken)
    call, _, owner = simulated(Behaviour(), frames=10)
    assert "the session broke (RuntimeError('as asked'))" in call.error
    assert owner.failures == [(call.error, False)]


def test_our_own_error_is_not_a_failure_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object, __: object) -> bytes:
        raise RuntimeError("no thread for it")

    monkeypatch.setattr("moshi_phone.engines.remote.opus.OpusEncoder.encode", fail)
    call, _, owner = simulated(Behaviour(), frames=80)
    assert "the session broke (RuntimeError('no thread for it'))" in call.error
    assert [failed for _, failed in owner.failures] == [False]
