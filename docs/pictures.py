"""Takes the pictures of the browser phone and of the Calls page: ``uv run python -m docs.pictures``.

Needs Chromium (Debian's package chromium). The pictures are taken during a call: the parrot answers, and the
microphone plays the rehearsal's clip of a caller.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import soundfile
from playwright.async_api import Browser, HttpCredentials, Page, ViewportSize, async_playwright
from scipy.signal import resample_poly

from moshi_phone.records.call_database import check_database, open_database
from moshi_phone.records.call_queries import put_rows
from moshi_phone.rehearse.clip import CALLER_FILE
from moshi_phone.rehearse.own_server import OwnServer
from tests.web.calls import rows, talked_call

HERE = Path(__file__).parent
WIDE, NARROW = ViewportSize(width=1120, height=760), ViewportSize(width=390, height=844)
PHONE = {"phone": WIDE, "phone-narrow": NARROW}
CALLS = {"calls": WIDE}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


async def open_page(browser: Browser, server: OwnServer, path: str) -> Page:
    """Open a page of the server."""
    credentials = HttpCredentials(username="me", password=server.password)
    page = await browser.new_page(http_credentials=credentials, viewport=WIDE)
    await page.goto(server.url.replace("ws:", "http:").replace("/stream", path))
    return page


async def take(page: Page, sizes: Mapping[str, ViewportSize], *, full_page: bool = False) -> None:
    """Take the pictures of a page: each size, in light and in dark colours."""
    for name, size in sizes.items():
        await page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            path = HERE / f"{name}-{scheme}.png"
            await page.screenshot(path=path, full_page=full_page, animations="disabled")
    await page.close()


async def take_phone(browser: Browser, server: OwnServer) -> None:
    """Call, and wait until the page shows a conversation."""
    page = await open_page(browser, server, "/")
    await page.click("#call")
    await page.wait_for_selector("body[data-state=talking]")
    await page.wait_for_timeout(8_000)
    await take(page, PHONE, full_page=True)


async def take_calls(browser: Browser, server: OwnServer) -> None:
    """Open one of the database's calls."""
    page = await open_page(browser, server, "/history")
    await page.click("#rows tr:first-child button")
    await page.wait_for_selector(".strip path.bot")
    await page.mouse.move(0, 0)  # otherwise it is above a row, which is then highlighted
    await page.evaluate("scrollTo(0, 0)")
    await take(page, CALLS)


def write_calls(folder: Path) -> Path:
    """Write a database of calls, one of them with a recording; return its path."""
    path = folder / "calls.db"
    check_database(path)
    call = replace(talked_call(folder, words=""), section="dentist", reason="the caller hung up")
    with open_database(path) as database:
        put_rows(database, [call, *rows(40)])
    return path


async def main() -> None:
    """Take all pictures."""
    clip, rate_hz = soundfile.read(CALLER_FILE)
    with tempfile.NamedTemporaryFile(suffix=".wav") as microphone, tempfile.TemporaryDirectory() as folder:
        soundfile.write(microphone.name, resample_poly(clip, 48_000 // rate_hz, 1), 48_000, subtype="PCM_16")
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={microphone.name}"]
        options = {"MOSHI_ENGINE": "parrot", "MOSHI_CALLS_DB": str(write_calls(Path(folder)))}
        async with OwnServer(options) as server, async_playwright() as playwright:
            chromium = shutil.which("chromium")
            browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
            await take_calls(browser, server)
            await take_phone(browser, server)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
