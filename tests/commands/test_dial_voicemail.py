"""``dial --voicemail``: whole calls of the real command, with Twilio's requests and callbacks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.commands.dialled import PUBLIC, Dialled, dialled
from tests.fakes.twilio_api import ACCOUNT_SID, NUMBER, FakeTwilioApi
from tests.fakes.twilio_voice import CALLER
from tests.support.phone import Phone
from tests.support.program import account, program

LOUD = bytes([0x10, 0x90] * 80)
STATUS_URL = f"{PUBLIC}/status"
PLAIN = {
    "To": [CALLER],
    "From": [NUMBER],
    "Timeout": ["30"],
    "TimeLimit": ["3600"],
    "StatusCallback": [STATUS_URL],
    "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
}
MESSAGE = "bafo delu"

pytestmark = pytest.mark.slow


def detecting(how: str) -> dict[str, list[str]]:
    """The parameters of a request to Twilio for answering machine detection, beyond a plain call's."""
    return {"MachineDetection": [how], "AsyncAmd": ["true"], "AsyncAmdStatusCallback": [STATUS_URL]}


def asked(call: Dialled) -> dict[str, list[str]]:
    """The request to Twilio, without its TwiML."""
    return {name: values for name, values in call.form.items() if name != "Twiml"}


async def amd(call: Dialled, answered_by: str) -> int:
    """Report who has answered, as asynchronous detection does: this, and no status of the call."""
    form = {
        "AccountSid": ACCOUNT_SID,
        "CallSid": call.sid,
        "AnsweredBy": answered_by,
        "MachineDetectionDuration": "3215",
    }
    (url,) = call.form["AsyncAmdStatusCallback"]
    return (await call.voice.post(url, form))[0]


async def talk(phone: Phone, frames: int = 2) -> None:
    for _ in range(frames):
        await phone.say(LOUD, times=4)
        await phone.listen(1)


async def hang_up(call: Dialled, phone: Phone) -> None:
    """End the call from the other side. The API reports that before the stream does."""
    call.twilio.calls[call.sid]["status"] = "completed"
    await asyncio.sleep(1.3)  # longer than between two requests for the state
    await phone.send({"event": "stop"})
    assert await phone.closed() == (1000, "the caller hung up")


async def test_hang_up_on_a_machine() -> None:
    async with dialled("--voicemail", "hang-up") as call:
        assert asked(call) == PLAIN | detecting("Enable")
        async with await call.answered() as (phone, _):
            await talk(phone)
            assert await amd(call, "machine_start") == 204
            assert await phone.closed() == (1000, "a machine answered")
        await call.run.says("completed after 42 s")
        assert await call.run.ends() == 0
        assert call.updates() == [{"Status": ["completed"]}]
        assert CALLER not in call.run.said


async def test_a_person_is_never_hung_up_on() -> None:
    async with dialled("--voicemail", "hang-up") as call:
        async with await call.answered() as (phone, _):
            for answered_by in ("human", "unknown"):
                await talk(phone)
                assert await amd(call, answered_by) == 204
            await talk(phone)
            await hang_up(call, phone)
        assert await call.run.ends() == 0
        assert call.updates() == []
        assert "AnsweredBy human" in call.run.said


async def test_a_stranger_cannot_end_a_call() -> None:
    async with dialled("--voicemail", "hang-up") as call:
        async with await call.answered() as (phone, _):
            call.voice._validator = type(call.voice._validator)("another token")
            assert await amd(call, "machine_start") == 403
            await talk(phone)
            await hang_up(call, phone)
        assert await call.run.ends() == 0
        assert call.updates() == []


async def test_talk_requests_no_detection() -> None:
    async with dialled("--voicemail", "talk") as call:
        assert asked(call) == PLAIN
        async with await call.answered() as (phone, _):
            await talk(phone)
            await hang_up(call, phone)
        assert await call.run.ends() == 0


def transcript_of(folder: Path) -> str:
    """The bot's words in the only call."""
    (written,) = folder.glob("*.jsonl")
    return " ".join(json.loads(line)["text"] for line in written.read_text().splitlines()[1:])


async def test_a_message_is_left_after_the_tone(tiny_checkpoint: Path, tmp_path: Path) -> None:
    engine = {"MOSHI_ENGINE": "moshi", "MOSHI_MODEL": str(tiny_checkpoint), "MOSHI_GREETING": "none"}
    options = ("--voicemail", "message", "--voicemail-message", MESSAGE, "--transcripts", str(tmp_path))
    async with dialled(*options, environment=engine) as call:
        assert asked(call) == PLAIN | detecting("DetectMessageEnd")
        async with await call.answered() as (phone, _):
            await talk(phone)
            assert await amd(call, "machine_start") == 204  # its greeting is still playing
            await talk(phone, 10)
            assert await amd(call, "machine_end_beep") == 204
            with pytest.raises(ConnectionClosed):
                await talk(phone, 400)
            assert (phone.socket.close_code, phone.socket.close_reason) == (1000, "a message was left")
        assert await call.run.ends() == 0
        assert call.updates() == [{"Status": ["completed"]}]
        assert MESSAGE not in call.run.said
    assert MESSAGE in transcript_of(tmp_path)


async def test_a_message_that_no_engine_can_say_prevents_the_call(twilio: FakeTwilioApi) -> None:
    options = ("--voicemail", "message", "--voicemail-message", MESSAGE)
    arguments = ("dial", CALLER, "--public-url", PUBLIC, "--port", "0", *options)
    async with program(*arguments, environment=account(twilio)) as run:
        assert await run.ends() == 2
    assert "Error: The engine parrot cannot say given words" in run.said
    assert twilio.made("POST", "Calls.json") == []
