"""Saying words in a running call, over real HTTP."""

from __future__ import annotations

import httpx
import pytest

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.options import WebOptions
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.say import MAX_BODY_BYTES
from moshi_phone.testing.engine import FakeEngine, FakeSession
from tests.support.phone import Phone, serving, start_message

CALL_SID = "CA" + "3" * 32
PATH = f"/calls/{CALL_SID}/say"


async def test_words_reach_the_call_s_session(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def say(_: FakeSession, text: str) -> None:
        if not text.strip():
            raise ValueError("expected words to say")
        said.append(text)

    async with (
        serving(state := ServerState(FakeEngine())) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        assert (await http.post(PATH, json={"text": "Hello."})).status_code == 404
        async with Phone.calling(address, start_message(call_sid=CALL_SID)) as phone:
            await phone.say(bytes(160), times=4)
            await phone.listen(1)
            answer = await http.post(PATH, json={"text": "Hello."})
            assert (answer.status_code, "cannot say" in answer.json()["detail"]) == (409, True)
            monkeypatch.setattr(FakeSession, "say", say)
            assert (await http.post(PATH, json={"text": "Hello, you."})).status_code == 202
            bodies: list[object] = [{"text": " "}, {"text": 5}, {}, [], "text"]
            for wrong in bodies:
                assert (await http.post(PATH, json=wrong)).status_code == 422, wrong
            assert (await http.post(PATH, content=b"{")).status_code == 415
            assert (await http.post(PATH, data={"text": "Hello."})).status_code == 415
            deep = b"[" * (MAX_BODY_BYTES - 1)  # deeper than Python's recursion goes
            json_only = {"content-type": "application/json"}
            assert (await http.post(PATH, content=deep, headers=json_only)).status_code == 422
            assert (await http.post(PATH, json={"text": "x" * MAX_BODY_BYTES})).status_code == 413
            await phone.send({"event": "stop"})
            await phone.closed()
        await state.calls.wait_until_idle()
        assert (await http.post(PATH, json={"text": "Too late."})).status_code == 404
    assert said == ["Hello, you."]


async def test_the_access_rule_of_monitoring_applies() -> None:
    auth = StreamAuth.for_account("secret", PublicAddress("https://a.example"))
    web = WebOptions(web=True, web_password="correct horse")
    for options, status in ((WebOptions(), 403), (web, 401)):
        async with (
            serving(ServerState(FakeEngine(), Settings(web=options), auth=auth)) as address,
            httpx.AsyncClient(base_url=f"http://{address}") as http,
        ):
            assert (await http.post(PATH, json={"text": "Hello."})).status_code == status
