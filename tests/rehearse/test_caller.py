"""The caller on real sockets; results that depend on the machine's speed are not asserted."""

from __future__ import annotations

import asyncio

import pytest

from moshi_phone.rehearse import caller, status_client
from moshi_phone.rehearse.caller import Caller
from moshi_phone.rehearse.clip import CALLER_FILE, caller_speech
from moshi_phone.rehearse.rehearsal import RehearsalResult, Target, rehearse
from tests.rehearse.bad_server import BadServer

SPEED = {"first_audio", "delay", "drift", "gaps", "keeps_up"}
SHORT = bytes([0xFF]) * 160 * 15


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "GOODBYE_SECS", 0.2)
    monkeypatch.setattr(status_client, "FREE_WITHIN_S", 0.1)
    monkeypatch.setattr(status_client, "POLL_S", 0.02)


async def rehearsed(server: BadServer, said: bytes) -> RehearsalResult:
    async with server.serving() as url:
        (call,) = await rehearse(Target(url, repeats_after_ms=0.0), said)
        return call


def failed(call: RehearsalResult) -> set[str]:
    return {point.key for point in call.points if point.passed is False}


@pytest.mark.slow
async def test_each_fault_of_a_real_server_fails_its_own_criterion() -> None:
    good, bad = BadServer(), BadServer(delay_s=0.4, say=True, leaks=True)
    said = caller_speech(CALLER_FILE, 4.8)
    well, ill = await asyncio.gather(rehearsed(good, said), rehearsed(bad, said))
    assert not failed(well) - SPEED
    assert failed(ill) - (SPEED - {"delay"}) == {"delay", "own_voice", "session_free"}
    assert good.tokens == ["t1"]
    assert good.echoed == ["tenth"]
    assert bad.sessions == 1
    # The audio received, not as it was played: a busy machine inserts gaps.
    assert b"".join(segment.mulaw for segment in well.record.ear.segments).count(said[5000:5640]) == 1
    points = {point.key: point for point in ill.points}
    assert points["own_voice"].figure == "<Say> speaks first"
    assert points["session_free"].figure == "1 sessions still open after 0.1 s"
    assert ill.found.delay_by == "content"


async def test_a_busy_server_is_a_refusal() -> None:
    call = await rehearsed(BadServer(refuses=True), SHORT)
    assert call.record.refused == "1013 All 1 sessions are taken."
    assert "accepted" in failed(call)


async def test_a_server_that_closes_early_has_no_clean_end() -> None:
    call = await rehearsed(BadServer(breaks_after=8), SHORT)
    assert call.record.broken is not None
    assert call.record.broken.endswith("1011 The engine broke.")
    assert "clean_end" in failed(call)


async def test_an_open_socket_and_extra_fields_fail_their_criteria() -> None:
    call = await rehearsed(BadServer(stays=True, extra={"track": "outbound"}), SHORT)
    assert {"clean_end", "protocol"} <= failed(call)
    assert call.record.violations[0] == "'media' with extra fields: track"


async def test_an_unreachable_server() -> None:
    record = await Caller("ws://127.0.0.1:9/stream", SHORT).call()
    assert record.refused is not None
    assert record.refused.startswith("no stream at ws://127.0.0.1:9/stream")


async def test_several_callers_and_jitter_and_progress() -> None:
    seconds: list[int] = []
    server = BadServer()
    async with server.serving() as url:
        said = bytes([0xFF]) * 160 * 50
        calls = await rehearse(Target(url), said, 3, jitter_ms=5, progress=seconds.append)
    assert len({call.call_sid for call in calls}) == 3
    assert seconds == [1, 1, 1]
    assert all(len(call.record.left_s) == 50 for call in calls)
    assert all(call.record.ear.received_samples >= 160 * 45 for call in calls)
