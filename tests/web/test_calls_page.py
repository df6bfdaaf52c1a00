"""The Calls page in a real Chromium: by mouse and keyboard, in every appearance, with ten thousand calls."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.records.call_database import check_database, open_database
from moshi_phone.records.call_history import CallHistory
from moshi_phone.records.call_queries import put_rows
from moshi_phone.records.call_row import CallRow, Outcome
from moshi_phone.records.call_store import CallStore
from moshi_phone.server.calls.state import ServerState
from moshi_phone.testing.engine import FakeEngine
from tests.support.phone import Phone, serving, start_message
from tests.web.axe import violations
from tests.web.browser import browsing
from tests.web.calls import CALLER, EVIL, message, rows, talked_call

pytestmark = pytest.mark.browser

OPENED_MS = 2_000
"""Within so long ten thousand calls are open on a slow machine; within half of it elsewhere."""


@asynccontextmanager
async def opened(state: ServerState, path: str = "/history") -> AsyncIterator[Page]:
    async with serving(state) as address, browsing(f"http://{address}{path}") as page:
        yield page


def history(tmp_path: Path) -> ServerState:
    state = ServerState(ParrotEngine())
    for row in (*reversed(rows(20)), message(), talked_call(tmp_path)):
        state.history.add(row)
    return state


async def test_it_is_usable_by_keyboard_in_every_appearance(tmp_path: Path) -> None:
    state = history(tmp_path)
    async with opened(state) as page:
        listed, details = page.locator("#rows tr"), page.locator("#details")
        await expect(listed).to_have_count(22)
        assert await violations(page) == []
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the list of calls")).to_be_focused()
        await page.keyboard.press("Enter")
        for _ in range(8):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.closest('tbody') !== null"):
                break
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        title = page.locator("#details-title")
        await expect(title).to_be_focused()
        await expect(title).to_have_text(CALLER)
        await expect(page.locator(".strip path.bot")).to_have_count(1)
        assert await violations(page) == []

        # What a caller, or a file, says is text.
        await expect(details).to_contain_text(f"Hello, I need an appointment. {EVIL}")
        await expect(details).to_contain_text(f"Answered: the caller hung up {EVIL}")
        await expect(details).to_contain_text("380 ms late, 15 dB down; then cancelled by 25 dB")
        assert await page.title() == "Calls – Moshi on the phone"
        assert await page.locator("img[onerror]").count() == 0

        # The player plays from where a line was said, by ranges.
        await page.get_by_role("button", name="Play from 0:04").press("Enter")
        played = (
            "() => { const a = document.querySelector('audio'); return a.currentTime > 4.2 && a.duration; }"
        )
        duration = await page.wait_for_function(played)
        assert 15 < float(await duration.json_value()) < 17
        await expect(page.locator("#criteria li")).to_have_count(3)

        await page.keyboard.press("Escape")
        await expect(details).to_be_hidden()
        await expect(listed.nth(1).get_by_role("button")).to_be_focused()
        assert "#" not in page.url


async def test_calls_are_deleted_after_a_confirmation(tmp_path: Path) -> None:
    state = history(tmp_path)
    state.history.add(
        CallRow(id="fd", from_number=CALLER, outcome=Outcome.BUSY, ended_at="2026-11-30T08:00:00Z")
    )
    async with opened(state, "/history#fe") as page:
        await page.get_by_role("button", name="Delete all calls with this number").click()
        asked = page.get_by_role("dialog")
        await expect(asked).to_contain_text(f"Delete all calls with {CALLER}")
        assert await violations(page) == []
        await asked.get_by_role("button", name="Cancel").click()
        await expect(page.locator("#rows tr")).to_have_count(23)
        await page.get_by_role("button", name="Delete all calls with this number").click()
        await asked.get_by_role("button", name="Delete").press("Enter")
        await expect(page.locator("#rows tr")).to_have_count(21)
        await expect(page.locator("#details")).to_be_hidden()
    assert not [name for _, _, names in os.walk(tmp_path) for name in names]


async def reloaded_ms(page: Page) -> float:
    """Reload the page; return the time from the navigation until rows can be painted."""
    await page.reload(wait_until="commit")
    shown: float = await page.evaluate(
        """new Promise((resolve) => {
          const look = () =>
            document.querySelector('#rows tr') ? resolve(performance.now()) : requestAnimationFrame(look);
          look();
        })"""
    )
    return shown


@pytest.mark.timed
async def test_ten_thousand_calls_open_within_a_second_and_can_be_searched(tmp_path: Path) -> None:
    path, noon = tmp_path / "calls.db", datetime(2026, 11, 29, 12, tzinfo=UTC)
    check_database(path)
    with open_database(path) as database:
        put_rows(database, rows(10_000, noon))
    state = ServerState(FakeEngine(), history=CallHistory(CallStore(path)))
    async with opened(state) as page:
        listed, count = page.locator("#rows tr"), page.locator("#count")
        await expect(listed).to_have_count(50)
        shown_ms = [await reloaded_ms(page) for _ in range(3)]
        assert min(shown_ms) < OPENED_MS
        await expect(count).to_have_text("10,000 found")
        await page.get_by_role("button", name="Show more").click()
        await expect(listed).to_have_count(100)
        await page.get_by_label("Number").fill("123 0042")
        await expect(count).to_have_text("2 found")  # numbers begin again after 7,000
        await expect(listed).to_have_count(2)
        await expect(page.get_by_role("button", name="Show more")).to_be_hidden()
        await page.get_by_label("Number").fill("")
        await page.get_by_label("Day").fill("2026-11-28")
        await expect(count).to_have_text("72 found")
        await page.get_by_label("Outcome").select_option(label="Busy")
        await expect(count).to_have_text(re.compile("^8 found"))
        await page.get_by_label("Day").fill("2031-01-01")
        await expect(page.get_by_text("No calls.")).to_be_visible()


async def test_a_running_call_is_listed_and_hung_up() -> None:
    engine = FakeEngine(capabilities=frozenset({"say"}))
    state = ServerState(engine)
    async with opened(state) as page:
        await expect(page.get_by_text("No running calls.")).to_be_visible()
        address = page.url.split("/")[2]
        async with Phone.calling(address, start_message(call_sid="CA1")) as phone:
            running = page.locator("#running li")
            await expect(running).to_contain_text("fake")
            await running.get_by_role("button", name="Say").press("Enter")
            await page.keyboard.type("The doctor is late.")
            await page.keyboard.press("Enter")
            await expect(running).to_contain_text("The bot says it at its next pause.")
            assert engine.sessions[0].sayings == ["The doctor is late."]
            assert await violations(page) == []
            await running.get_by_role("button", name="Hang up").press("Enter")
            await page.get_by_role("dialog").get_by_role("button", name="Hang up").press("Enter")
            assert (await phone.closed())[1] == "the Calls page hung up"
            await state.calls.wait_until_idle()
        await expect(running).to_have_count(0)
        await expect(page.locator("#rows tr .outcome")).to_have_text("Answered")
        # And the phone's own page leads here.
        await page.get_by_role("link", name="Phone").click()
        await page.get_by_role("link", name="Calls").click()
        await expect(page.locator("#rows tr")).to_have_count(1)


async def test_an_unreadable_database_and_a_lost_server_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    state = ServerState(FakeEngine(), history=CallHistory(CallStore(path)))  # no such file
    state.history.add(message())
    async with browsing() as page:
        async with serving(state) as address:
            await page.goto(f"http://{address}/history")
            alert = page.get_by_role("alert")
            await expect(alert).to_contain_text("cannot be read now")
            await expect(page.locator("#rows tr")).to_have_count(1)
            assert await violations(page) == []
            state.calls.closing = "the test is over"
        await expect(alert).to_have_text("No connection to the server. Reconnecting …")
        await expect(page.locator("#rows tr")).to_have_count(1)


async def test_without_access_no_call_is_shown(tmp_path: Path) -> None:
    state = history(tmp_path)
    state.auth = StreamAuth.for_account("secret", PublicAddress("https://a.example"))
    async with opened(state) as page:
        await expect(page.get_by_role("main")).to_contain_text("uv run bot.py --web")
        assert CALLER not in await page.content()
