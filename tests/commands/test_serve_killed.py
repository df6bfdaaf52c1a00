"""The program ends in the middle of a call, and is started again: the caller is still on the line."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

import pytest

from tests.fakes.twilio_api import FakeTwilioApi
from tests.fakes.twilio_voice import FakeTwilioVoice, HungUp
from tests.support.phone import SILENT_PACKET
from tests.support.ports import free_ports
from tests.support.program import account, program

CALL = "CA" + "4" * 32
PUBLIC = "https://phone.example.com"


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
async def test_it_ends_in_the_middle_of_a_call(twilio: FakeTwilioApi, by: signal.Signals) -> None:
    """SIGTERM hands over what outlasts ``--drain-secs``."""
    twilio.put_in_progress(CALL)
    port = free_ports()
    arguments = ("--public-url", PUBLIC, "--port", str(port), "--drain-secs", "0")
    environment = {name: value for name, value in account(twilio).items() if name != "TWILIO_NUMBER"}
    voice = FakeTwilioVoice(PUBLIC, f"127.0.0.1:{port}")

    async def until_connected(twiml: str) -> str:
        """Ask while nobody answers, which Twilio does for 15 s, and wait on hold while the engine loads."""
        while True:
            with suppress(HungUp):
                twiml = await voice.after(twiml, CALL)
                if "<Stream" in twiml:
                    return twiml
                await asyncio.sleep(1)

    async with program(*arguments, environment=environment) as first:
        await first.says("Answering calls at")
        twiml = await voice.call_in(f"{PUBLIC}/twiml", CALL)
        async with voice.obey(twiml, CALL) as (phone, _):
            await phone.say(SILENT_PACKET, times=8)
            await phone.listen(1)
            first.signal(by)
            code, _ = await phone.closed()
            assert code == (1012 if by is signal.SIGTERM else 1006)
        await first.wait()
    async with program(*arguments, environment=environment) as second:
        twiml = await asyncio.wait_for(until_connected(twiml), 60)
        async with voice.obey(twiml, CALL) as (phone, _):
            await phone.say(SILENT_PACKET, times=8)
            await phone.listen(1)
        second.signal(signal.SIGTERM)
    assert twilio.made("POST", f"Calls/{CALL}.json") == [], "nobody was hung up, and nobody led anywhere"
