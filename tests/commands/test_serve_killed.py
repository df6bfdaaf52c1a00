"""The program ends during a call and is started again: the caller is still connected."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes.twilio_api import FakeTwilioApi
from tests.fakes.twilio_voice import FakeTwilioVoice, HungUp
from tests.support.phone import SILENT_PACKET
from tests.support.ports import free_ports
from tests.support.program import account, program

CALL = "CA" + "4" * 32
WAIT = "One moment, please."
PUBLIC = "https://phone.example.com"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "is_loaded"), [(signal.SIGKILL, False), (signal.SIGTERM, False), (signal.SIGKILL, True)]
)
async def test_a_call_continues_after_a_restart(
    twilio: FakeTwilioApi, tiny_checkpoint: Path, *, by: signal.Signals, is_loaded: bool
) -> None:
    """SIGTERM hands over calls that outlast ``--drain-secs``. While a model loads, the caller is on hold."""
    twilio.put_in_progress(CALL)
    port = free_ports()
    arguments = ("--public-url", PUBLIC, "--port", str(port), "--drain-secs", "0", "--hold-say", WAIT)
    moshi = ("--engine", "moshi", "--model", str(tiny_checkpoint), "--greeting-frames", "3")
    environment = {name: value for name, value in account(twilio).items() if name != "TWILIO_NUMBER"}
    voice = FakeTwilioVoice(PUBLIC, f"127.0.0.1:{port}")

    heard = list[str]()

    async def until_connected(twiml: str) -> str:
        """Repeat the request until it is answered, as Twilio does for 15 s; hold while the engine loads."""
        while True:
            with suppress(HungUp):
                twiml = await voice.after(twiml, CALL)
                heard.append(twiml)
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
    more = moshi if is_loaded else ()  # which process had the call makes no difference
    async with program(*arguments, *more, environment=environment) as second:
        twiml = await asyncio.wait_for(until_connected(twiml), 60)
        async with voice.obey(twiml, CALL) as (phone, _):
            await phone.say(SILENT_PACKET, times=8)
            await phone.listen(1)
        second.signal(signal.SIGTERM)
    if is_loaded:
        first_answer, *more_holds, connected = heard
        assert WAIT in first_answer
        assert all("<Pause" in hold and "<Redirect" in hold for hold in (first_answer, *more_holds))
        assert all(WAIT not in one for one in (*more_holds, connected)), "once is enough"
    assert twilio.made("POST", f"Calls/{CALL}.json") == [], "nobody was hung up, and nobody led anywhere"
