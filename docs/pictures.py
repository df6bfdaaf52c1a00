"""Takes the pictures of the browser phone and of the Calls page: ``uv run python -m docs.pictures``.

Needs Chromium (Debian's package chromium). A call goes on while they are taken: the parrot answers, and the
microphone is the caller's clip of the rehearsal.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import soundfile
from playwright.async_api import Browser, async_playwright
from scipy.signal import resample_poly

from moshi_phone.records.call_database import check_database, open_database
from moshi_phone.records.call_queries import put_rows
from moshi_phone.rehearse.clip import CALLER_FILE
from moshi_phone.rehearse.own_server import OwnServer
from tests.web.calls import rows, talked_call

HERE = Path(__file__).parent
SHOTS = {
    "phone-light": {"color_scheme": "light", "viewport": {"width": 1120, "height": 760}},
    "phone-dark": {"color_scheme": "dark", "viewport": {"width": 1120, "height": 760}},
    "phone-narrow-light": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
    "phone-narrow-dark": {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}},
}
CALLS = {
    "calls-light": {"color_scheme": "light", "viewport": {"width": 1120, "height": 760}},
    "calls-dark": {"color_scheme": "dark", "viewport": {"width": 1120, "height": 760}},
}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


async def take(browser: Browser, server: OwnServer, name: str) -> None:
    """Call, wait until there is something to see, and take the picture."""
    credentials = {"username": "me", "password": server.password}
    page = await browser.new_page(http_credentials=credentials, **SHOTS[name])  # type: ignore[arg-type]
    await page.goto(server.url.replace("ws:", "http:").replace("/stream", "/"))
    await page.click("#call")
    await page.wait_for_selector("body[data-state=talking]")
    await page.wait_for_timeout(8_000)
    await page.screenshot(path=HERE / f"{name}.png", full_page=True)
    await page.close()


async def take_calls(browser: Browser, server: OwnServer, name: str) -> None:
    """Open one of the calls that the database has, and take the picture."""
    credentials = {"username": "me", "password": server.password}
    page = await browser.new_page(http_credentials=credentials, **CALLS[name])  # type: ignore[arg-type]
    await page.goto(server.url.replace("ws:", "http:").replace("/stream", "/history"))
    await page.click("#rows tr:first-child button")
    await page.wait_for_selector(".strip path.bot")
    await page.mouse.move(0, 0)  # or it stands over a row
    await page.evaluate("scrollTo(0, 0)")
    await page.screenshot(path=HERE / f"{name}.png")
    await page.close()


def write_calls(folder: Path) -> Path:
    """Write a database of calls, one of them with a recording; gives its path."""
    path = folder / "calls.db"
    check_database(path)
    call = replace(talked_call(folder, words=""), section="dentist", reason="the caller hung up")
    with open_database(path) as database:
        put_rows(database, [call, *rows(40)])
    return path


async def main() -> None:
    """Take them all, one after the other."""
    clip, rate_hz = soundfile.read(CALLER_FILE)
    with tempfile.NamedTemporaryFile(suffix=".wav") as microphone, tempfile.TemporaryDirectory() as folder:
        soundfile.write(microphone.name, resample_poly(clip, 48_000 // rate_hz, 1), 48_000, subtype="PCM_16")
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={microphone.name}"]
        options = {"MOSHI_ENGINE": "parrot", "MOSHI_CALLS_DB": str(write_calls(Path(folder)))}
        async with OwnServer(options) as server, async_playwright() as playwright:
            chromium = shutil.which("chromium")
            browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
            for name in CALLS:
                await take_calls(browser, server, name)
            for name in SHOTS:
                await take(browser, server, name)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
