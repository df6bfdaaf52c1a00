"""Observing a call over real HTTP, during the call and afterwards."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import soundfile
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.dashboard_auth import DashboardAuth
from moshi_phone.access.login_throttle import LoginThrottle
from moshi_phone.access.options import WebOptions
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.audio import g711
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.testing.engine import FakeEngine
from tests.support.phone import Phone, serving, start_message

CALL_SID = "CA" + "2" * 32
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
LOUD = bytes([0x20, 0xA0]) * 80  # silence would be trimmed when it comes as quickly as here


async def events(stream: httpx.Response, until: str) -> dict[str, object]:
    """Read an event stream until an event of this name; return the last data of each."""
    last: dict[str, object] = {}
    name = ""
    async for line in stream.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            last[name] = json.loads(line.removeprefix("data: "))
            if name == until:
                break
    return last


def only_recording(directory: Path) -> tuple[NDArray[np.int16], int]:
    (path,) = directory.iterdir()
    sides, rate_hz = soundfile.read(path, dtype="int16")
    return sides, rate_hz


async def test_a_call_can_be_observed_while_it_runs_and_afterwards() -> None:
    line = ServerState(FakeEngine(), engine_reason="as requested")
    async with (
        serving(line) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=20) as http,
    ):
        assert (await http.get("/calls")).json()["running"] == []
        async with Phone.calling(address, start_message(call_sid=CALL_SID)) as phone:
            await phone.say(LOUD, times=40)
            await phone.listen(10)
            (listed,) = (await http.get("/calls")).json()["running"]
            assert listed["name"] == CALL_SID[:10]
            assert CALL_SID not in json.dumps(listed)  # it gives access to the transcript
            assert "words" not in listed
            async with http.stream("GET", "/calls/events") as stream:
                seen = await events(stream, "calls")
            assert isinstance(seen["calls"], dict)
            assert seen["calls"]["capacity"] == 4
            assert (seen["calls"]["state"], seen["calls"]["engine_reason"]) == ("ready", "as requested")
            async with http.stream("GET", f"/calls/{CALL_SID}/events") as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                await phone.send({"event": "stop", "streamSid": "MZ1"})
                seen = await events(stream, "end")
        assert isinstance(seen["metrics"], dict)
        assert isinstance(seen["end"], dict)
        assert seen["metrics"]["backlog_frames"] == 0
        assert seen["end"]["over"]
        page = await http.get(f"/calls/{CALL_SID}")
        assert page.headers["cache-control"] == "no-store", "no disk of a browser's shall have the words"
        after = page.json()
        assert after["frames"] == 10
        assert after["words"] == [
            {"at_s": after["words"][0]["at_s"], "speaker": "bot", "text": "1 2 3 4 5 6 7 8 9 10"}
        ]
        assert (await http.get("/calls/CA3")).status_code == 404
        scraped = await http.get("/metrics")
        assert scraped.headers["content-type"].startswith("text/plain")
        names = {family.name for family in text_string_to_metric_families(scraped.text)}
        assert {"moshi_calls", "moshi_delay_seconds", "process_cpu_seconds"} <= names


async def test_after_a_reset_socket_the_recording_is_readable(tmp_path: Path) -> None:
    line = ServerState(FakeEngine(), Settings(taps=TapOptions(record=tmp_path)))
    async with serving(line) as address:
        async with Phone.calling(address, start_message(call_sid=CALL_SID)) as phone:
            await phone.say(LOUD, times=40)
            await phone.listen(10)
            phone.socket.transport.abort()
        await line.calls.wait_until_idle()
    sides, rate_hz = only_recording(tmp_path)
    said = np.frombuffer(g711.decode(LOUD * 40), "<i2")
    assert rate_hz == 8000
    assert np.array_equal(sides[: len(said), 0], said)
    assert np.abs(sides[:, 1]).max() > 1000


async def test_a_public_server_requires_the_password() -> None:
    auth = StreamAuth.for_account("secret", PublicAddress("https://a.example"))
    paths = ["/", "/web/app.js", "/calls", "/calls/events", f"/calls/{CALL_SID}", "/metrics"]
    async with (
        serving(ServerState(FakeEngine(), auth=auth)) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        assert [(await http.get(path)).status_code for path in paths] == [403] * len(paths)
        assert (await http.post("/web/call")).status_code == 403
        page = await http.get("/", headers=BROWSER)
        assert (page.status_code, page.headers["content-type"]) == (403, "text/html; charset=utf-8")
        assert "uv run bot.py --web" in page.text
        assert "style-src 'sha256-" in page.headers["content-security-policy"]
    web = WebOptions(web=True, web_password="correct horse")
    async with serving(ServerState(FakeEngine(), Settings(web=web), auth=auth)) as address:
        async with httpx.AsyncClient(base_url=f"http://{address}") as http:
            assert [(await http.get(path)).status_code for path in paths] == [401] * len(paths)
            page = await http.get("/", headers=BROWSER)
            assert (page.status_code, "MOSHI_WEB_PASSWORD" in page.text) == (401, True)
            assert page.headers["www-authenticate"].startswith("Basic ")
        async with httpx.AsyncClient(base_url=f"http://{address}", auth=("me", "correct horse")) as http:
            assert (await http.get("/")).status_code == 200
            assert set(http.cookies) == {"moshi_device"}
            assert (await http.get("/calls")).status_code == 200


async def test_the_page_its_files_and_a_token_for_one_stream() -> None:
    line = ServerState(FakeEngine(), auth=StreamAuth.for_account("secret"))
    async with serving(line) as address, httpx.AsyncClient(base_url=f"http://{address}") as http:
        page = await http.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        script = await http.get("/web/microphone.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert (await http.get("/web/..%2fbot.py")).status_code == 404
        leave = (await http.post("/web/call")).json()
        start = start_message(call_sid=leave["callSid"], parameters={"token": leave["token"]})
        async with Phone.calling(address, start) as phone:
            await phone.say(LOUD, times=8)
            await phone.listen(2)
        async with Phone.calling(address, start) as phone:
            code, reason = await phone.closed()
    assert (code, "used before" in reason) == (1008, True)


async def test_simultaneous_guesses_are_limited_to_five() -> None:
    """Over real HTTP, where 1,140 a second used to be checked."""
    line = ServerState(FakeEngine(), Settings(web=WebOptions(web=True, web_password="correct horse")))
    throttle = LoginThrottle(clock=lambda: 0.0)  # thirty requests may take a while
    line.dashboard_auth = DashboardAuth(line.settings.web, line.is_public, throttle=throttle)
    async with (
        serving(line) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=20) as http,
    ):
        guesses = [http.get(path, auth=("me", "wrong horse")) for path in ("/", "/calls", "/metrics") * 10]
        answers = Counter(answer.status_code for answer in await asyncio.gather(*guesses))
        assert answers == {401: 5, 429: 25}
        page = await http.get("/", auth=("me", "x"), headers={"accept": "text/html"})
        assert (page.status_code, "Too many wrong passwords" in page.text) == (429, True)
