"""The browser phone in a real Chromium, its microphone a spoken file, against the real server."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.async_api import Page, async_playwright, expect
from scipy.signal import resample_poly

from access.auth import StreamAuth
from audio import g711, pcm
from engines.parrot import GREETING, ParrotEngine
from rehearse.clip import CALLER_FILE
from server.state import ServerState
from tests.phone import serving

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# Without these, Chromium looks for hosts that a closed network refuses it.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
]
_NUMBER = re.compile(r"[0-9]+")
PATIENCE_MS = 30_000  # for slow machines; nothing waits for it

pytestmark = pytest.mark.browser


@asynccontextmanager
async def browsing(line: ServerState, *flags: str) -> AsyncIterator[Page]:
    async with serving(line) as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *flags])
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(f"http://{address}/")
        yield page
        await browser.close()
        assert errors == []


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Write the caller's clip as Chromium's fake microphone wants it: 48 kHz, 16 bit."""
    clip, rate_hz = soundfile.read(CALLER_FILE)
    path = tmp_path / "speech.wav"
    soundfile.write(path, resample_poly(clip, 48_000 // rate_hz, 1), 48_000, subtype="PCM_16")
    return path


async def test_a_whole_call(speech: Path) -> None:
    line = ServerState(ParrotEngine(delay_s=0.4), auth=StreamAuth.for_account("secret"))
    microphone = ("--use-fake-ui-for-media-stream", f"--use-file-for-fake-audio-capture={speech}")
    async with browsing(line, *microphone) as page:
        await expect(page.get_by_text("Nobody is on the phone.")).to_be_visible()
        button = page.get_by_role("button", name="Call")
        await button.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("body")).to_have_attribute("data-state", "talking", timeout=PATIENCE_MS)
        await expect(page.get_by_role("log")).to_contain_text(GREETING.split()[0], timeout=PATIENCE_MS)
        # The bot's audio comes out of the loudspeaker, and the voice goes into the microphone.
        for meter in ("You", "Bot"):
            loud = "m => Number(m.getAttribute('aria-valuenow')) > 40"
            handle = await page.get_by_role("meter", name=meter).element_handle()
            await page.wait_for_function(loud, arg=handle, timeout=PATIENCE_MS)
        for figure in ("delay", "lead", "backlog"):
            await expect(page.locator(f"#{figure}")).to_have_text(_NUMBER, timeout=PATIENCE_MS)
        await expect(page.locator("#calls tr.own")).to_have_count(1, timeout=PATIENCE_MS)
        assert line.engine.running == 1
        (call,) = line.calls.running
        frames = call.observations.metrics.frames

        await page.keyboard.press("m")
        mute = page.get_by_role("button", name="Mute")
        await expect(mute).to_have_attribute("aria-pressed", "true")
        quiet = "m => m.getAttribute('aria-valuenow') === '0'"
        await page.wait_for_function(quiet, arg=await page.get_by_role("meter", name="You").element_handle())

        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_role("status")).to_have_text("You hung up.")
        await line.calls.all_over()
        assert line.engine.running == 0
        assert call.observations.metrics.frames >= frames > 0
        reason, _ = await call.ended()
        assert reason == "the caller hung up"
        await expect(page.get_by_text("Nobody is on the phone.")).to_be_visible(timeout=PATIENCE_MS)


async def test_a_refused_microphone_has_its_word_and_takes_no_session() -> None:
    line = ServerState(ParrotEngine())
    async with browsing(line, "--deny-permission-prompts") as page:
        await page.get_by_role("button", name="Call").click()
        await expect(page.get_by_role("status")).to_contain_text(
            "The microphone is blocked", timeout=PATIENCE_MS
        )
        await expect(page.get_by_role("button", name="Call")).to_be_visible()
    assert line.calls.served == 0


async def test_a_busy_line_has_its_word() -> None:
    line = ServerState(ParrotEngine(capacity=0))
    async with browsing(line, "--use-fake-ui-for-media-stream") as page:
        await page.get_by_role("button", name="Call").click()
        await expect(page.get_by_role("status")).to_contain_text("The line is busy", timeout=PATIENCE_MS)
    assert line.calls.refused["busy"] == 1


async def test_the_page_s_codec_and_resampler_are_the_line_s(tmp_path: Path) -> None:
    """Every µ-law code, and a tone through both resamplers, against the server's own."""
    async with browsing(ServerState(ParrotEngine())) as page:
        codes = await page.evaluate(
            """async () => {
              const { decode, encode } = await import('/web/mulaw.js');
              const all = Uint8Array.from({ length: 256 }, (_, i) => i);
              return { samples: [...decode(all)], again: [...encode(decode(all))] };
            }"""
        )
        tone = await page.evaluate(
            """async () => {
              const { Resampler } = await import('/web/resampler.js');
              const down = new Resampler(44100, 8000), up = new Resampler(8000, 48000);
              const out = [];
              for (let at = 0; at < 44100; at += 128) {
                const block = Float32Array.from({ length: 128 }, (_, i) =>
                  0.5 * Math.sin((2 * Math.PI * 1000 * (at + i)) / 44100) +
                  0.5 * Math.sin((2 * Math.PI * 6000 * (at + i)) / 44100));
                out.push(...up.push(down.push(block)));
              }
              return out;
            }"""
        )
    expected = pcm.to_float(g711.decode(bytes(range(256))))
    assert np.allclose(codes["samples"], expected)
    # Both zeros of µ-law are the same sample.
    assert [code for code in range(256) if codes["again"][code] != code] == [127]
    heard = np.array(tone)
    assert len(heard) == pytest.approx(48_000, abs=400)
    spectrum = np.abs(np.fft.rfft(heard[4_800:43_200] * np.hanning(38_400))) / 38_400 * 4
    spectrum_db = 20 * np.log10(spectrum + 1e-9)
    peak = int(np.argmax(spectrum_db))
    assert peak * 48_000 / 38_400 == pytest.approx(1_000, abs=2)
    assert spectrum_db[peak] == pytest.approx(-6, abs=0.3)
    spectrum_db[peak - 4 : peak + 5] = -200
    assert spectrum_db.max() < -60  # neither the 6 kHz tone, nor its alias at 2 kHz, nor images
