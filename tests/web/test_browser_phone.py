"""Whole calls of the browser phone in a real Chromium, against the real server."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from playwright.async_api import Page, expect
from scipy.signal import correlate

from moshi_phone.access.auth import StreamAuth
from moshi_phone.engines.duplex import CallOverrides
from moshi_phone.engines.parrot import GREETING, ParrotEngine
from moshi_phone.engines.personas import Personas
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from tests.support.phone import serving
from tests.web.browser import ALLOWED, PATIENCE_MS, browsing, speaking, state

_NUMBER = re.compile(r"[0-9]+")
RATE_HZ = 8000
GREETING_S = 4.5  # during the parrot's greeting, the caller's words cannot be told from it

pytestmark = pytest.mark.browser


async def loud(page: Page, meter: str) -> None:
    """Wait until a meter shows something, even briefly."""
    shown = """(meter) => new Promise((resolve) => {
      const look = () => Number(meter.getAttribute('aria-valuenow')) > 40 && resolve();
      new MutationObserver(look).observe(meter, { attributes: true });
      look();
    })"""
    async with asyncio.timeout(PATIENCE_MS / 1000):
        await page.get_by_role("meter", name=meter).evaluate(shown)


def lag_s(sides: NDArray[np.float32]) -> float:
    """Return by how many seconds the other side repeats the caller."""
    said, heard = sides.T[:, int(GREETING_S * RATE_HZ) :]
    alike = correlate(heard, said, method="fft")
    return float(np.argmax(alike) - (len(said) - 1)) / RATE_HZ


async def test_a_whole_call_in_the_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = ServerState(
        ParrotEngine(delay_s=0.4), auth=StreamAuth.for_account("secret"), engine_reason="as requested"
    )
    async with serving(line) as address, browsing(f"http://{address}/", speaking(tmp_path)) as page:
        header = "The parrot answers, as requested · 0 of 64 lines in use"
        await expect(page.get_by_text(header)).to_be_visible()
        await expect(page.get_by_text("No running calls.")).to_be_visible()
        button = page.get_by_role("button", name="Call")
        await button.focus()
        await page.keyboard.press("Enter")
        await state(page, "call", "talking")
        await expect(page.get_by_role("log")).to_contain_text(GREETING.split()[0])
        # The bot's audio comes out of the loudspeaker, and the voice goes into the microphone.
        await loud(page, "You")
        await loud(page, "Parrot")
        for metric in ("delay", "buffer", "backlog"):
            await expect(page.locator(f"#{metric}")).to_have_text(_NUMBER)
        await expect(page.locator("#delay-parts")).to_have_text(re.compile(r"\(80 \+ 3 \+ \d+ \+ \d+ ms\)"))
        await expect(page.locator("#calls tr.own")).to_have_count(1)
        assert line.engine.running == 1
        (call,) = line.calls.running
        frames = call.observations.metrics.frames

        await page.keyboard.press("m")
        mute = page.get_by_role("button", name="Mute")
        await expect(mute).to_have_attribute("aria-pressed", "true")
        silent = "m => m.getAttribute('aria-valuenow') === '0'"
        await page.wait_for_function(silent, arg=await page.get_by_role("meter", name="You").element_handle())
        await expect(page.get_by_role("timer")).to_have_text(re.compile(r"^0:\d\d$"))

        told, report = asyncio.Event(), line.reports.end

        async def report_slowly(*end: Any) -> None:
            await told.wait()
            await report(*end)

        monkeypatch.setattr(line.reports, "end", report_slowly)
        await page.get_by_role("button", name="Hang up").click()
        await expect(page.get_by_role("status")).to_have_text("You hung up.")
        await page.wait_for_timeout(1_500)  # the caller's last words may come as late as this
        call.observations.transcript.add(" Goodbye.", call.secs, "caller")
        told.set()
        await line.calls.wait_until_idle()
        await expect(page.get_by_role("log")).to_contain_text("Goodbye.")
        assert line.engine.running == 0
        assert call.observations.metrics.frames >= frames > 0
        reason, _ = await call.wait_for_end()
        assert reason == "the caller hung up"
        await expect(page.get_by_text("No running calls.")).to_be_visible()
        await expect(page.get_by_role("timer")).to_have_text("")


async def test_the_keypad_sends_keys_and_the_hang_up_key_ends_the_call() -> None:
    line = ServerState(ParrotEngine(), Settings(server=ServerOptions(hangup_key="#")))
    async with serving(line) as address, browsing(f"http://{address}/") as page:
        toggle = page.get_by_role("button", name="Keypad")
        await state(page, "server", "ready")
        await expect(toggle).to_be_disabled()
        await page.get_by_role("button", name="Call").click()
        await state(page, "call", "talking")
        (call,) = line.calls.running
        await toggle.click()
        keypad = page.get_by_role("group", name="Keypad")
        await expect(keypad.get_by_role("button")).to_have_count(12)
        await keypad.get_by_role("button", name="5").click()
        await page.keyboard.press("0")  # the focus is on the keypad
        await expect(keypad.get_by_label("Keys pressed")).to_have_text("50")
        await page.keyboard.press("Escape")
        await expect(keypad).to_be_hidden()
        await expect(toggle).to_be_focused()
        await toggle.click()
        await keypad.get_by_role("button", name="#").click()
        await expect(page.locator("#status")).to_have_text("The call is over.")
        assert await call.wait_for_end() == ("the caller pressed #", 1000)
        await expect(keypad).to_be_hidden()


async def test_the_recording_and_the_transcript_can_be_saved(tmp_path: Path) -> None:
    line = ServerState(ParrotEngine(delay_s=0.4))
    async with serving(line) as address, browsing(f"http://{address}/", speaking(tmp_path)) as page:
        await page.get_by_role("button", name="Call").click()
        await state(page, "call", "talking")
        await expect(page.get_by_role("timer")).to_have_text("0:10")
        await page.get_by_role("button", name="Hang up").click()
        files = {}
        for name in ("recording", "transcript"):
            async with page.expect_download() as download:
                await page.get_by_role("button", name=f"Save {name}").click()
            files[name] = await download.value
        wav, text = [await files[name].path() for name in ("recording", "transcript")]
        assert re.fullmatch(r"[\dT-]+Z-call\.wav", files["recording"].suggested_filename)
        assert re.fullmatch(r"[\dT-]+Z-transcript\.txt", files["transcript"].suggested_filename)
        sides, rate_hz = soundfile.read(wav, dtype="float32", always_2d=True)
        lines = text.read_text(encoding="utf-8").splitlines()
    assert rate_hz == RATE_HZ
    assert sides.shape[1] == 2
    assert len(sides) > 9 * RATE_HZ
    # The parrot says 0.4 s later, and the line's delay after that, what the caller has said.
    assert 0.4 < lag_s(sides) < 1.5
    assert lines[0].startswith("   0:0")
    assert " ".join(re.sub(r"^ *[\d:]+  (Parrot: )?", "", line) for line in lines) == GREETING


async def test_devices_and_volume_can_be_changed_in_a_call() -> None:
    line = ServerState(ParrotEngine())
    async with serving(line) as address, browsing(f"http://{address}/") as page:
        await page.get_by_role("button", name="Call").click()
        await state(page, "call", "talking")
        (call,) = line.calls.running
        await page.get_by_text("Sound").click()
        for label, device in (("Microphone", "Fake Audio Input 1"), ("Speaker", "Fake Audio Output 1")):
            await page.get_by_label(label).select_option(device)
        await page.get_by_label("Volume").fill("30")
        frames = call.observations.metrics.frames
        await loud(page, "You")  # the fake microphone beeps
        await expect(page.get_by_role("status")).to_have_text("Connected. You can interrupt at any time.")
        assert call.observations.metrics.frames > frames
        await page.get_by_role("button", name="Hang up").click()
        await line.calls.wait_until_idle()


async def test_persona_and_voice_can_be_selected_if_offered() -> None:
    engine = ParrotEngine()
    line = ServerState(engine, personas=Personas(sections={"dentist": CallOverrides("You are Anna.")}))
    async with serving(line) as address, browsing(f"http://{address}/") as page:
        await state(page, "server", "ready")
        await expect(page.get_by_role("group", name="Who answers")).to_be_hidden()
        engine.supported_overrides = frozenset({"persona"})
        await page.reload()
        await page.get_by_label("Persona").select_option("dentist")
        async with page.expect_request("**/web/call") as asking:
            await page.get_by_role("button", name="Call").click()
        assert (await asking.value).post_data_json == {"persona": "dentist"}
        await state(page, "call", "talking")
        await page.get_by_role("button", name="Hang up").click()
        await line.calls.wait_until_idle()


async def test_a_blocked_microphone_is_reported_and_uses_no_session() -> None:
    line = ServerState(ParrotEngine())
    async with (
        serving(line) as address,
        browsing(f"http://{address}/", ["--deny-permission-prompts"]) as page,
    ):
        await page.get_by_role("button", name="Call").click()
        await expect(page.get_by_role("status")).to_contain_text("The microphone is blocked")
        await expect(page.get_by_role("button", name="Call")).to_be_visible()
    assert line.calls.served == 0


async def test_a_busy_server_is_reported() -> None:
    line = ServerState(ParrotEngine(capacity=0))
    async with serving(line) as address, browsing(f"http://{address}/", ALLOWED) as page:
        await page.get_by_role("button", name="Call").click()
        await expect(page.get_by_role("status")).to_contain_text("All lines are busy")
    assert line.refusals.by_cause["busy"] == 1
