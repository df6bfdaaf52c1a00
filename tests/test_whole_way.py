"""From a number at Twilio to the last status: the program itself, with stand-ins for external services."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import pytest

from tests.fakes.cloudflared import URL, FakeCloudflared
from tests.fakes.twilio_api import AUTH_TOKEN, NUMBER, NUMBER_SID, fake_twilio_api
from tests.fakes.twilio_voice import CALLER, FakeTwilioVoice, Rejected
from tests.support.program import account, program

LOUD = bytes([0x10, 0x90] * 80)
FIRST, SECOND = "CA" + "1" * 32, "CA" + "2" * 32
BEFORE = "https://old.example.com/voice"


async def test_an_incoming_call_finishes_although_the_server_is_stopping(tmp_path: Path) -> None:
    with fake_twilio_api() as twilio:
        twilio.number["voice_url"] = BEFORE
        async with (
            FakeCloudflared(tmp_path, ready_at_once=True) as cloudflared,
            program(
                "--tunnel", "--port", "0", "--calls", "1", environment=account(twilio, cloudflared.path)
            ) as server,
        ):
            # The engine first, then the tunnel, then the number: no caller hears silence.
            tunnel = await cloudflared.runs.get()
            await server.says("Answering calls at ws://127.0.0.1:")
            await server.says(f"Reached at {URL}")
            await server.says("+…006 rings here now; before, it went to https://old.example.com/voice.")
            local = re.search(r"--url http://(127\.0\.0\.1:[0-9]+) ", " ".join(tunnel.argv))
            assert local is not None
            assert twilio.number["voice_url"] == f"{URL}/twiml"

            voice = FakeTwilioVoice(URL, local[1])
            twiml = await voice.call_in(twilio.number["voice_url"], FIRST)
            async with voice.obey(twiml, FIRST) as (phone, status_url):
                assert status_url == f"{URL}/status"
                await phone.say(LOUD, times=8)
                await phone.listen(2)
                assert await voice.tell(status_url, FIRST, StreamEvent="stream-started") == 204
                assert await voice.tell(status_url, FIRST, CallStatus="in-progress") == 204
                await server.says("CA11111111 Twilio says in-progress")

                server.signal(signal.SIGTERM)
                await server.says("No new calls; 1 running may finish within 300 s.")
                # The number is restored at once: new calls have their previous destination.
                await server.says("+…006 goes to https://old.example.com/voice again.")
                late = await voice.call_in(f"{URL}/twiml", SECOND)
                with pytest.raises(Rejected, match="busy"):
                    async with voice.obey(late, SECOND):
                        pass
                await phone.say(LOUD, times=8)
                await phone.listen(2)
                await phone.send({"event": "stop"})
                assert await phone.closed() == (1000, "the caller hung up")
            assert await server.ends() == 0
            assert await tunnel.told() == {"sigterm": True}

        assert twilio.number["voice_url"] == BEFORE
        assert [form["VoiceUrl"] for form in twilio.made("POST", NUMBER_SID)] == [[f"{URL}/twiml"], [BEFORE]]
        token = twiml.partition('value="')[2].partition('"')[0]
        for secret in (AUTH_TOKEN, CALLER, NUMBER, token):
            assert secret not in server.said
        assert "Traceback" not in server.said


async def test_a_phone_is_dialled(tmp_path: Path) -> None:
    with fake_twilio_api() as twilio:
        twilio.progress = ["queued"]
        placed = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        twilio.on_call = lambda sid, form: loop.call_soon_threadsafe(placed.set_result, (sid, form))
        async with (
            FakeCloudflared(tmp_path) as cloudflared,
            program("dial", "+1 (555) 123-4567", environment=account(twilio, cloudflared.path)) as dial,
        ):
            await dial.says("Answering calls at ws://127.0.0.1:")
            tunnel = await cloudflared.runs.get()
            assert twilio.made("POST", "Calls") == []  # nothing is dialled before the engine can answer
            await tunnel.be_ready()
            await dial.says("calling +…567 from +…006")
            sid, form = await placed
            assert (form["To"], form["From"], form["TimeLimit"]) == ([CALLER], [NUMBER], ["3600"])
            await dial.says("queued")

            local = re.search(r"--url http://(127\.0\.0\.1:[0-9]+) ", " ".join(tunnel.argv))
            assert local is not None
            voice = FakeTwilioVoice(URL, local[1])
            (status_url,) = form["StatusCallback"]
            for status in ("ringing", "in-progress"):
                twilio.calls[sid]["status"] = status
                assert await voice.tell(status_url, sid, CallStatus=status) == 204
                await dial.says(status.replace("-", " "))
            async with voice.obey(form["Twiml"][0], sid) as (phone, _):
                await phone.say(LOUD, times=8)
                await phone.listen(2)
                twilio.calls[sid]["status"] = "completed"
                await phone.send({"event": "stop"})
                assert (await phone.closed())[0] == 1000
            await voice.tell(status_url, sid, CallStatus="completed")
            await dial.says("completed after 42 s")
            assert await dial.ends() == 0
            assert await tunnel.told() == {"sigterm": True}
        assert [one.path for one in twilio.requests if one.method == "POST"] == [
            one.path for one in twilio.requests if one.path.endswith("/Calls.json")
        ]  # one call, which ended by itself
        assert CALLER not in dial.said
        assert "Traceback" not in dial.said
