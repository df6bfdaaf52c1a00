"""Many calls whose streams break off at random: all resources are freed, and none is used twice."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls import next_step
from moshi_phone.server.calls.call import CallState
from tests.fakes.twilio_api import FakeTwilioApi
from tests.server.calls.test_next_step import ring
from tests.server.talking_line import PUBLIC, Line, TalkingEngine, talk
from tests.support.waiting import until

CALLS, AT_ONCE = 120, 4
BREAKS = ("reset", "asked twice", "asked before the loss is seen")
ENDS = ("stop", "closed", "hung up while its session waits", "gone")


async def one_call(line: Line, twilio: FakeTwilioApi, call_sid: str, dice: random.Random) -> None:
    """Talk in several successive streams, and end in one of several ways."""
    twilio.put_in_progress(call_sid)
    twiml, older = await ring(line, call_sid), None
    async with AsyncExitStack() as streams:
        while True:
            phone = await streams.enter_async_context(line.call(call_sid, twiml))
            await talk(phone, 1)
            if older is not None:
                assert (await older.closed())[0] == 1000
                older = None
            match how := dice.choice(BREAKS + ENDS):
                case "stop":
                    await phone.send({"event": "stop"})
                    await phone.closed()
                    return
                case "closed":
                    twilio.calls[call_sid]["status"] = "completed"
                    await phone.socket.close()
                    return
                case "asked before the loss is seen":
                    older = phone
                case _:
                    phone.socket.transport.abort()
            if how == "gone":
                twilio.calls[call_sid]["status"] = "completed"
                return
            if how == "hung up while its session waits":
                twilio.calls[call_sid]["status"] = "completed"
                await asyncio.sleep(dice.uniform(0, 0.05))
                await line.voice.tell(f"{PUBLIC}/status", call_sid, CallStatus="completed")
                return
            asked, twiml = twiml, await line.voice.after(twiml, call_sid)
            assert how != "asked twice" or await line.voice.after(asked, call_sid) == twiml
            if "<Hangup" in twiml:  # it broke off too often
                return


@pytest.mark.slow
async def test_many_broken_calls_free_everything(
    twilio: FakeTwilioApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_step, "ASK_SECS", 1.0)
    monkeypatch.setattr("bot.HEARD_SECS", 0.0)  # a test sends its request right after the last packet
    dice, engine, process = random.Random(24), TalkingEngine(capacity=CALLS), psutil.Process()
    made = Line(twilio, engine, resume_secs=2.0, silence_secs=0, mute_secs=0)
    made.state.settings = replace(made.state.settings, taps=TapOptions(record=tmp_path, meter=False))
    async with made.serving() as line:
        calls, most = line.state.calls, Counter[str]()

        async def watch() -> None:
            while True:
                active = [call.start.call_sid for call in calls.running if call.state is CallState.ACTIVE]
                for call_sid, count in Counter(active).items():
                    most[call_sid] = max(most[call_sid], count)
                await asyncio.sleep(0.002)

        for number in range(CALLS, CALLS + AT_ONCE):  # what the first ones open stays
            await one_call(line, twilio, f"CA{number:032x}", dice)
        await calls.wait_until_idle()
        files, watching = process.num_fds(), asyncio.ensure_future(watch())
        places = asyncio.Semaphore(AT_ONCE)

        async def in_turn(number: int) -> None:
            async with places:
                await one_call(line, twilio, f"CA{number:032x}", dice)

        await asyncio.gather(*(in_turn(number) for number in range(CALLS)))
        await asyncio.wait_for(calls.wait_until_idle(), 60)
        await until(lambda: not line.state.next_steps.broken_off())  # those redirected by REST
        watching.cancel()
        assert max(most.values()) == 1
        assert len(most) == CALLS
        assert (engine.running, line.state.reservations.count(line.state.clock(), besides="")) == (0, 0)
        assert calls.served == engine.opened
        gc.collect()
        assert process.num_fds() <= files + 2 * AT_ONCE  # of connections to the API that stay open
    assert len(list(tmp_path.glob("*.wav"))) == calls.served  # noqa: ASYNC240
