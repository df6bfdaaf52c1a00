from __future__ import annotations

import base64
import hashlib
import re

import httpx
import pytest
from fastapi import HTTPException

from bot import run_call
from moshi_phone.engines.duplex import CallOverrides
from moshi_phone.engines.personas import Personas
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.app import create_app
from moshi_phone.server.web.browser_phone import WEB, chosen, offers, refusal_page
from moshi_phone.testing.engine import FakeEngine


def client(state: ServerState) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(state, run_call)), base_url="http://localhost"
    )


async def test_the_page_s_policy_allows_only_its_own_scripts() -> None:
    async with client(ServerState(FakeEngine())) as http:
        page = await http.get("/")
        assert page.text == (WEB / "index.html").read_text()
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"


async def test_only_the_page_s_files_are_served() -> None:
    async with client(ServerState(FakeEngine())) as http:
        assert (await http.get("/web/app.js")).text == (WEB / "app.js").read_text()
        for other in ("no.js", "..%2fbot.py", "%2e%2e/bot.py"):
            assert (await http.get(f"/web/{other}")).status_code == 404


async def test_each_call_has_its_own_sid_and_token() -> None:
    async with client(ServerState(FakeEngine())) as http:
        answers = [await http.post("/web/call") for _ in range(2)]
    calls = [answer.json() for answer in answers]
    assert calls[0]["callSid"] != calls[1]["callSid"]
    assert calls[0]["token"] != calls[1]["token"]
    assert all(len(call["callSid"]) == 34 for call in calls)
    assert all(answer.headers["cache-control"] == "no-store" for answer in answers)


JSON = "application/json; charset=utf-8"


class Versatile(FakeEngine):
    """Accepts personas and two voices."""

    supported_overrides = frozenset({"persona", "voice"})
    voices = ("NATF2", "NATM0")

    def prepare(self, request: CallOverrides) -> None:
        self.prepared = request


ANNA = CallOverrides(persona="You are Anna.", voice="NATM0")
STATE = ServerState(Versatile(), personas=Personas(sections={"anna": ANNA}))


def test_an_engine_without_settings_offers_none() -> None:
    assert offers(ServerState(FakeEngine())) == {"personas": [], "voices": []}


def test_prompts_of_personas_are_not_sent() -> None:
    assert offers(STATE) == {"personas": ["anna"], "voices": ["NATF2", "NATM0"]}


def test_a_chosen_voice_overrides_the_persona_s() -> None:
    assert chosen(STATE, b" ", "") == PendingCall(is_browser=True)
    assert chosen(STATE, b'{"persona": "anna"}', JSON) == PendingCall(
        request=ANNA, section="anna", is_browser=True
    )
    request = chosen(STATE, b'{"persona": "anna", "voice": "NATF2"}', JSON).request
    assert request == CallOverrides(persona="You are Anna.", voice="NATF2")
    assert isinstance(STATE.engine, Versatile)
    assert STATE.engine.prepared == request


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{", JSON, 422),
        (b"[]", JSON, 422),
        (b'{"persona": 1}', JSON, 422),
        (b'{"persona": "You are a thief."}', JSON, 422),
        (b'{"voice": "../x"}', JSON, 422),
    ],
)
def test_choices_that_are_not_offered_are_refused(body: bytes, content_type: str, status: int) -> None:
    with pytest.raises(HTTPException) as refused:
        chosen(STATE, body, content_type)
    assert refused.value.status_code == status


def test_the_error_page_has_the_reason_the_remedy_and_the_headers() -> None:
    page = refusal_page(HTTPException(401, "a <b>password</b>", {"WWW-Authenticate": "Basic"}))
    text = bytes(page.body).decode()
    assert page.status_code == 401
    assert page.headers["www-authenticate"] == "Basic"
    assert "a &lt;b&gt;password&lt;/b&gt;" in text
    assert "MOSHI_WEB_PASSWORD" in text


def test_an_error_page_without_a_remedy() -> None:
    page = refusal_page(HTTPException(429, "too many wrong passwords"))
    assert "too many wrong passwords" in bytes(page.body).decode()


def test_the_error_page_s_policy_allows_only_its_own_style() -> None:
    page = refusal_page(HTTPException(403, "not open"))
    found = re.search(r"<style>(.*?)</style>", bytes(page.body).decode(), re.DOTALL)
    assert found is not None
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    policy = page.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
