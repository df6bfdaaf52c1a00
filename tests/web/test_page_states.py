"""The page's messages while the server loads, fails, closes and disappears, in a real Chromium."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect

from bot import run_call
from moshi_phone.engines.duplex import Progress
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.net.http_server import uvicorn_config
from moshi_phone.server.web.app import create_app
from moshi_phone.testing.engine import FakeEngine
from tests.support.phone import serving, serving_app
from tests.web.browser import browsing, state

pytestmark = pytest.mark.browser


class SlowEngine(FakeEngine):
    """Loads, and fails, when the test says so."""

    def __init__(self) -> None:
        super().__init__(capacity=1)
        self.loaded = asyncio.Event()
        self.broken: str | None = None

    @property
    def error(self) -> str | None:
        return self.broken or super().error

    async def start(self, progress: Progress) -> None:
        progress("Fetching model.q4.safetensors: 2.1 of 4.8 GB")
        await self.loaded.wait()
        await super().start(progress)


async def test_loading_ready_and_failed() -> None:
    engine = SlowEngine()
    line = ServerState(engine, engine_reason="on Metal")
    async with (
        serving_app(uvicorn_config(create_app(line, run_call))) as address,
        browsing(f"http://{address}/") as page,
    ):
        loading = asyncio.create_task(line.startup.run(engine, lambda _: None))
        await state(page, "server", "loading")
        said = page.get_by_role("status")
        await expect(page.get_by_text("Loading…")).to_be_visible()
        await expect(said).to_have_text("Fetching model.q4.safetensors: 2.1 of 4.8 GB")
        await expect(page.get_by_role("button", name="Call")).to_be_hidden()

        engine.loaded.set()
        await loading
        await expect(page.get_by_role("button", name="Call")).to_be_visible()
        await expect(said).to_have_text("Press the button and start talking.")
        await expect(page.get_by_text("fake answers, on Metal · 0 of 1 line in use")).to_be_visible()

        engine.broken = "The model does not work any more; restart the program."
        await expect(said).to_have_text(engine.broken)
        await expect(page.get_by_role("button", name="Call")).to_be_hidden()
        line.calls.closing = "the test is over"


async def test_the_reason_of_a_failed_start_stays_visible() -> None:
    engine = SlowEngine()
    line = ServerState(engine)
    async with browsing() as page:
        async with serving_app(uvicorn_config(create_app(line, run_call))) as address:
            await page.goto(f"http://{address}/")
            await state(page, "server", "loading")
            line.startup.fail("The disk is full while fetching model.q4.safetensors; free some space.")
            await state(page, "server", "gone")
        await expect(page.get_by_role("status")).to_contain_text("The disk is full")
        await page.wait_for_timeout(2_500)  # it has tried again meanwhile
        await expect(page.get_by_role("status")).to_contain_text("The disk is full")


async def test_a_server_that_closes_and_returns() -> None:
    first = ServerState(ParrotEngine())
    async with browsing() as page:
        async with serving(first) as address:
            await page.goto(f"http://{address}/")
            said, words = page.get_by_role("status"), page.get_by_role("log")
            await page.get_by_role("button", name="Call").click()
            await state(page, "call", "talking")
            await expect(words).to_contain_text("parrot")
            # While it drains, the call continues, and so do the page's updates.
            first.calls.closing = "the line is shutting down"
            await state(page, "server", "closing")
            await expect(words).to_contain_text("say it back to you.")
            await expect(page.locator("#calls tr.own")).to_have_count(1)
            await page.get_by_role("button", name="Hang up").click()
            await expect(said).to_contain_text("The server is shutting down and takes no new calls.")
            await expect(page.get_by_role("button", name="Call")).to_be_hidden()
            await first.calls.wait_until_idle()
        await state(page, "server", "gone")
        await expect(said).to_contain_text("The server does not answer.")
        await expect(page.get_by_text("No connection to the server")).to_be_visible()
        await expect(page.get_by_text("No running calls.")).to_be_visible()
        await expect(words).to_contain_text("say it back to you.")

        second = ServerState(ParrotEngine())
        async with serving(second, port=int(address.rpartition(":")[2])):
            await state(page, "server", "ready")
            await expect(said).to_have_text("Press the button and start talking.")
            await expect(words).to_contain_text("say it back to you.")
            await page.get_by_role("button", name="Call").click()
            await state(page, "call", "talking")
            await expect(words).not_to_contain_text("say it back to you.")
            # The server dies in mid-call.
            second.calls.end_all("the server stops")
            second.calls.closing = "the server stops"
            await second.calls.wait_until_idle()
        await state(page, "server", "gone")
        await expect(page.get_by_role("button", name="Hang up")).to_be_hidden()
