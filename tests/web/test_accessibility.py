"""axe-core finds nothing in any state of the page: wide and 320 px, light and dark."""

from __future__ import annotations

import asyncio
import json

import pytest
from playwright.async_api import expect

from bot import run_call
from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.net.http_server import uvicorn_config
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.app import create_app
from moshi_phone.testing.engine import FakeEngine
from tests.support.phone import Phone, serving, serving_app
from tests.web.axe import violations
from tests.web.browser import browsing, state
from tests.web.test_page_states import SlowEngine

pytestmark = pytest.mark.browser


async def test_idle_talking_muted_and_gone() -> None:
    line = ServerState(ParrotEngine(), engine_reason="as requested")
    async with browsing() as page:
        async with serving(line) as address:
            await page.goto(f"http://{address}/")
            await state(page, "server", "ready")
            assert await violations(page) == []
            await page.get_by_role("button", name="Call").click()
            await state(page, "call", "talking")
            await page.get_by_role("button", name="Keypad").click()
            await page.get_by_text("Sound").click()
            await expect(page.get_by_role("log")).to_contain_text("parrot")
            await expect(page.locator("#calls tr.own")).to_have_count(1)
            assert await violations(page) == []
            await page.get_by_role("button", name="Mute").click()
            assert await violations(page) == []
            line.calls.end_all("the server stops")
            line.calls.closing = "the server stops"
            await line.calls.wait_until_idle()
        await state(page, "server", "gone")
        assert await violations(page) == []


async def test_loading_broken_and_closing() -> None:
    engine = SlowEngine()
    line = ServerState(engine)
    async with (
        serving_app(uvicorn_config(create_app(line, run_call))) as address,
        browsing(f"http://{address}/") as page,
    ):
        loading = asyncio.create_task(line.startup.run(engine, lambda _: None))
        await state(page, "server", "loading")
        assert await violations(page) == []
        engine.loaded.set()
        await loading
        async with Phone.calling(address):
            await state(page, "server", "ready")
            engine.broken = "The model does not work any more; restart the program."
            await state(page, "server", "error")
            assert await violations(page) == []
            line.calls.closing = "the line is shutting down"
            await state(page, "server", "closing")
            assert await violations(page) == []
        await line.calls.wait_until_idle()


async def test_both_speakers_and_choices() -> None:
    line = ServerState(ParrotEngine())
    words = [
        {"at_s": 0.5, "speaker": "bot", "text": "Hello!"},
        {"at_s": 1.5, "speaker": "caller", "text": "Hi."},
    ]
    offers = {"personas": ["dentist"], "voices": ["a-voice-with-a-long-name.wav" * 3]}
    async with serving(line) as address, browsing(f"http://{address}/") as page:
        await page.route("**/offers", lambda route: route.fulfill(json=offers))
        stream = f"event: words\ndata: {json.dumps(words)}\n\n"
        follow = {"content_type": "text/event-stream", "body": stream}
        await page.route("**/calls/CA*/events", lambda route: route.fulfill(**follow))
        await page.reload()
        await expect(page.get_by_label("Voice")).to_be_visible()
        await page.get_by_role("button", name="Call").click()
        await expect(page.get_by_role("listitem")).to_have_text(["0:00ParrotHello!", "0:01YouHi."])
        await expect(page.get_by_label("Voice")).to_be_disabled()
        assert await violations(page) == []
        # A phone's screen has no room for a sentence beside its speaker's name.
        await page.set_viewport_size({"width": 320, "height": 700})
        box = await page.get_by_text("Hello!").bounding_box()
        assert box is not None
        assert box["width"] > 200
        await page.get_by_role("button", name="Hang up").click()
        await line.calls.wait_until_idle()


async def test_calling_and_refused() -> None:
    silent = FakeEngine(capacity=1, step_secs=lambda _: 3600)  # it takes the call and says nothing
    line = ServerState(silent, Settings(engine=EngineOptions(hang_secs=600)))
    async with serving(line) as address, browsing(f"http://{address}/") as page:
        await page.get_by_role("button", name="Call").click()
        await expect(page.get_by_role("status")).to_have_text("Connecting …")
        assert await violations(page) == []
        async with browsing(f"http://{address}/") as other:
            await other.get_by_role("button", name="Call").click()
            await expect(other.get_by_role("status")).to_contain_text("All lines are busy")
            assert await violations(other) == []
        await page.get_by_role("button", name="Hang up").click()
        await line.calls.wait_until_idle()


async def test_the_error_page_explains_how_to_get_access() -> None:
    auth = StreamAuth.for_account("secret", PublicAddress("https://a.example"))
    line = ServerState(FakeEngine(), auth=auth)
    async with serving(line) as address, browsing(f"http://{address}/") as page:
        await expect(page.get_by_role("main")).to_contain_text("uv run bot.py --web")
        assert (
            await page.evaluate("getComputedStyle(document.body).maxWidth") == "576px"
        )  # its style is let in
        assert await violations(page) == []
