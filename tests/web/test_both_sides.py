"""The program itself with both tiny models, called from Chromium: both sides' words, live and stored."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from moshi_phone.hooks.http import is_signed
from tests.fakes.hook import hook, says
from tests.support.program import program
from tests.support.waiting import until
from tests.web.browser import PATIENCE_MS, browsing, speaking, state

LINES_OF_EACH = 3
LABELS = {"caller": "You", "bot": "Moshi"}

pytestmark = pytest.mark.browser


def shown(line: dict[str, Any]) -> str:
    """Return a line as the page shows it: time, label, words."""
    minutes, seconds = divmod(int(line["at_s"]), 60)
    return f"{minutes}:{seconds:02}{LABELS[line['speaker']]}{line['text']}"


async def test_page_file_and_on_end_report_have_the_same_words(
    talkative_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    model, listening = talkative_pair
    (kept := tmp_path / "transcripts").mkdir()
    async with hook(says(status=204)) as told:
        options = {
            "--engine": "moshi",
            "--model": str(model),
            "--listen-model": str(listening),
            "--port": "0",
            "--on-end": told.url,
            "--on-end-folder": str(tmp_path / "outbox"),
            "--transcripts": str(kept),
        }
        environment = {"MOSHI_GREETING_FRAMES": "3", "MOSHI_SEED": "1", "MOSHI_HOOK_SECRET": "whsec"}
        arguments = [word for option in options.items() for word in option]
        async with program(*arguments, environment=environment) as run:
            address = (await run.says("Answering calls at ws://")).split("ws://")[1].split("/")[0]
            async with browsing(f"http://{address}/", speaking(tmp_path)) as page:
                await page.get_by_role("button", name="Call").click()
                await state(page, "call", "talking")
                for speaker in LABELS:
                    lines = page.locator(f"#transcript b.{speaker}")
                    await expect(lines.nth(LINES_OF_EACH - 1)).to_be_visible(timeout=2 * PATIENCE_MS)
                await page.get_by_role("button", name="Hang up").click()
                await until(lambda: told.bodies)
                (report,) = told.told
                words = report["words"]
                items = page.get_by_role("log").get_by_role("listitem")
                await expect(items).to_have_text([shown(line) for line in words])
            run.signal(signal.SIGTERM)
            assert await run.ends() == 0
    assert is_signed(told.signatures[0] or "", told.bodies[0], "whsec", 0, within_secs=1 << 40)
    assert report["reason"] == "the caller hung up"
    assert [line["at_s"] for line in words] == sorted(line["at_s"] for line in words)
    (written,) = kept.glob("*.jsonl")
    _, *in_file = [json.loads(line) for line in written.read_text().splitlines()]
    assert in_file == words
    assert " CA" in run.said
    assert not [line for line in words if len(line["text"]) > 8 and line["text"] in run.said]
