"""The example as in its docstring: a whole call over a real socket, with a service on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from moshi_phone.engines.duplex import CallerText, DuplexStep
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.testing.engine import FakeEngine, FakeSession
from tests.fakes.openai_api import ToolCall, fake_openai
from tests.fakes.twilio_api import FakeTwilioApi
from tests.server.talking_line import PERSON, TO_THE_PERSON, Line, TalkingEngine
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, start_message

LOUD = bytes([0x20, 0xA0]) * 80
PACKETS_PER_FRAME = 4
WAIT_S = 20.0


@pytest.mark.slow
async def test_an_answer_is_said_and_a_tool_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    questions = {2: " What time is it?", 40: " Goodbye."}

    async def outputs(session: FakeSession) -> AsyncIterator[DuplexStep]:
        number = 0
        async for step in plain_outputs(session):
            pieces = (CallerText(questions[number], 0.0),) if number in questions else ()
            yield replace(step, caller_text=pieces)
            number += 1

    plain_outputs = FakeSession.outputs
    monkeypatch.setattr(FakeSession, "outputs", outputs)
    monkeypatch.setattr(FakeSession, "say", lambda _, text: said.append(text))
    with fake_openai(ToolCall("what_time_is_it"), "Just after nine.", ToolCall("hang_up")) as api:
        monkeypatch.setenv("DELEGATE_BASE_URL", api.url)
        monkeypatch.setenv("DELEGATE_MODEL", "tiny")
        options = ServerOptions(pipeline="examples.delegate:phone_call_with_delegate")
        state = ServerState(FakeEngine(), Settings(server=options))
        async with serving(state) as address, Phone.calling(address, start_message()) as phone:
            await phone.say(LOUD, times=30 * PACKETS_PER_FRAME)
            async with asyncio.timeout(WAIT_S):
                while not said:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
            assert said == ["Just after nine. "]
            await phone.say(LOUD, times=30 * PACKETS_PER_FRAME)
            assert (await asyncio.wait_for(phone.closed(), WAIT_S))[0] == 1000
        assert api.requests[0]["model"] == "tiny"
        assert api.messages(0)[0][0] == "system"
        assert ("user", "What time is it?") in api.messages(0)
        assert '"now"' in str(api.messages(1))


@pytest.mark.slow
async def test_a_tool_transfers_the_caller(
    twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    engine = TalkingEngine()
    engine.script = {2: " Is there a human being?"}
    made = Line(twilio, engine, transfer_to=PERSON, transfer_notice="One moment, please.")
    server = ServerOptions(pipeline="examples.delegate:phone_call_with_delegate")
    made.state.settings = replace(made.state.settings, server=server)
    with fake_openai(ToolCall("transfer_to_a_person")) as api:
        monkeypatch.setenv("DELEGATE_BASE_URL", api.url)
        async with made.serving() as line, line.call() as phone:
            await phone.say(LOUD, times=30 * PACKETS_PER_FRAME)
            closed = await asyncio.wait_for(phone.closed(), WAIT_S)
            await line.state.calls.wait_until_idle()
    assert closed == (1000, "the call was transferred to a person")
    assert line.updates() == [{"Twiml": [TO_THE_PERSON]}]
    assert engine.spoken == ["One moment, please."]
    assert "human being" not in "".join(line for line in logged.lines if "DEBUG" not in line)
