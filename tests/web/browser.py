"""A real Chromium with a fake microphone."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import soundfile
from playwright.async_api import Page, async_playwright, expect
from scipy.signal import resample_poly

from moshi_phone.rehearse.clip import CALLER_FILE

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# Without these, Chromium looks for hosts that a closed network refuses it.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
)
ALLOWED = ("--use-fake-ui-for-media-stream",)
PATIENCE_MS = 60_000  # for slow machines; nothing waits for it
expect.set_options(timeout=PATIENCE_MS)
_MICROPHONE_HZ = 48_000


@asynccontextmanager
async def browsing(url: str = "about:blank", flags: Sequence[str] = ALLOWED) -> AsyncIterator[Page]:
    """Open a page; afterwards, check that no script of it has failed.

    Without a URL, the page may outlive the server that it is led to.
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *flags])
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(url)
        yield page
        await browser.close()
        assert errors == []


def speaking(folder: Path) -> tuple[str, ...]:
    """Return the flags of a microphone that plays the rehearsal's clip: 48 kHz, 16 bit, for Chromium."""
    clip, rate_hz = soundfile.read(CALLER_FILE)
    path = folder / "speech.wav"
    soundfile.write(path, resample_poly(clip, _MICROPHONE_HZ // rate_hz, 1), _MICROPHONE_HZ, subtype="PCM_16")
    return (*ALLOWED, f"--use-file-for-fake-audio-capture={path}")


async def state(page: Page, name: str, value: str) -> None:
    """Wait until the page's body has this state: of the ``call`` (idle, calling, talking) or of the
    ``server``.
    """
    attribute = {"call": "data-state", "server": "data-server"}[name]
    await page.wait_for_selector(f"body[{attribute}={value}]")
