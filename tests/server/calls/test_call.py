"""server/calls/call.py: the states of one call, and who may end it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from moshi_phone.server.calls.call import Call, CallClosed, CallState
from moshi_phone.telephony.media_stream import Start
from moshi_phone.testing.engine import FakeEngine, FakeSession
from tests.support.logs import Logged

START = Start("MZ1", "CA" + "1" * 32, "AC1", {}, {})


async def test_the_first_reason_to_end_is_kept() -> None:
    call = Call(START)
    call.request_end("the caller hung up", 1000)
    call.request_end("the engine failed", 1011)
    assert await call.wait_for_end() == ("the caller hung up", 1000)


async def test_a_cancelled_waiter_does_not_end_the_call() -> None:
    call = Call(START)
    waiting = asyncio.ensure_future(call.wait_for_end())
    await asyncio.sleep(0)
    waiting.cancel()
    call.request_end("over")
    assert (await call.wait_for_end())[0] == "over"


async def test_an_ended_call_refuses_words() -> None:
    with pytest.raises(CallClosed):
        Call(START).say("Hello.")


async def test_a_stranger_s_sid_cannot_name_a_file_in_another_folder() -> None:
    began = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
    call = Call(replace(START, call_sid="../../etc/x y\0" + "z" * 99), began=began)
    assert call.file_name == "2026-01-31T12-30-00Z-etcxy" + "z" * 29


async def test_a_call_s_states_only_advance() -> None:
    call = Call(START, session=FakeSession(FakeEngine()))
    states = [call.state]
    call.request_end("the caller hung up")
    states.append(call.state)
    with pytest.raises(CallClosed):
        call.say("hello")
    call.close()
    call.request_end("too late")
    states.append(call.state)
    assert states == [CallState.ACTIVE, CallState.ENDING, CallState.CLOSED]
    assert call.session is None
    assert await call.wait_for_end() == ("the caller hung up", 1000)
    with pytest.raises(RuntimeError, match="closed already"):
        call.close()


async def test_only_one_action_runs_at_a_time(logged: Logged) -> None:
    """The guard was in CallControl, of which a dialled call had two: one for keys, one for voicemail."""
    call = Call(START)
    done: list[str] = []

    async def act(name: str) -> None:
        await asyncio.sleep(0)
        done.append(name)

    assert call.start_action(act("transfer"), "the caller pressed 0")
    assert not call.start_action(act("message"), "a machine answered")
    await asyncio.sleep(0.01)
    assert call.start_action(act("another"), "the caller pressed 0 again")
    await asyncio.sleep(0.01)
    assert done == ["transfer", "another"]
    assert "a machine answered" not in logged.text
