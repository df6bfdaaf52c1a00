from __future__ import annotations

import httpx

from bot import run_call
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.app import create_app
from moshi_phone.server.web.browser_phone import WEB
from tests.support.fake_engines import FakeEngine


def client(state: ServerState) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(state, run_call)), base_url="http://localhost"
    )


async def test_the_page_runs_only_what_is_its_own() -> None:
    async with client(ServerState(FakeEngine())) as http:
        page = await http.get("/")
        assert page.text == (WEB / "index.html").read_text()
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"


async def test_its_files_and_no_others() -> None:
    async with client(ServerState(FakeEngine())) as http:
        assert (await http.get("/web/app.js")).text == (WEB / "app.js").read_text()
        for other in ("no.js", "..%2fbot.py", "%2e%2e/bot.py"):
            assert (await http.get(f"/web/{other}")).status_code == 404


async def test_each_call_has_a_name_and_a_token_of_its_own() -> None:
    async with client(ServerState(FakeEngine())) as http:
        answers = [await http.post("/web/call") for _ in range(2)]
    calls = [answer.json() for answer in answers]
    assert calls[0]["callSid"] != calls[1]["callSid"]
    assert calls[0]["token"] != calls[1]["token"]
    assert all(len(call["callSid"]) == 34 for call in calls)
    assert all(answer.headers["cache-control"] == "no-store" for answer in answers)
