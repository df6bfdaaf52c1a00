"""A call with both tiny models through the real server: both sides' words, and words on demand."""

from __future__ import annotations

import json
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from moshi_phone.engines.duplex import CallerText
from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.moshi.stt.worker import TimedTranscript
from moshi_phone.engines.options import EngineOptions
from moshi_phone.hooks.http import Hook
from moshi_phone.hooks.outbox import Outbox
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from tests.engines.moshi.test_call import GREETING_FRAMES, PACKETS_PER_FRAME
from tests.fakes.hook import hook, says
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, start_message

CALL_SID = "CA" + "4" * 32
FRAMES = 60


def lines_of(folder: Path) -> list[dict[str, Any]]:
    (written,) = folder.glob("*.jsonl")
    return [json.loads(line) for line in written.read_text().splitlines()]


async def babble(phone: Phone, frames: int) -> None:
    """Say something else in each frame; otherwise the tiny model outputs one syllable for ever."""
    for _ in range(frames):
        for _ in range(PACKETS_PER_FRAME):
            await phone.say(np.random.default_rng(phone.packets_sent).bytes(160))
        await phone.listen(frames=1)


@pytest.mark.slow
async def test_the_transcript_has_the_last_words_of_a_caller_who_hangs_up(
    talkative_pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_out: list[tuple[int, str]] = []
    push = TimedTranscript.push

    def noted(words: TimedTranscript, token: int, number: int) -> CallerText | None:
        piece = push(words, token, number)
        made_out.append((number, piece.text if piece else ""))
        return piece

    monkeypatch.setattr(TimedTranscript, "push", noted)
    model, listening = talkative_pair
    options = EngineOptions(model=str(model), listen_model=str(listening), seed=1, greeting="none")
    state = ServerState(MoshiEngine(options, codec_limit_frames=500))
    async with (
        serving(state) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as http,
        Phone.calling(address, start_message(call_sid=CALL_SID)) as phone,
    ):
        await babble(phone, 20)
        await phone.send({"event": "stop"})
        hung_up_s = time.monotonic()
        await phone.closed()
        assert time.monotonic() - hung_up_s < 2, "the line is not kept for the words"
        await state.calls.wait_until_idle()
        words = (await http.get(f"/calls/{CALL_SID}")).json()["words"]
    assert made_out[-1][0] >= 19 + 7, "the model writes half a second after the sound"
    transcribed = "".join(line["text"] for line in words if line["speaker"] == "caller")
    assert transcribed.replace(" ", "") == "".join(text for _, text in made_out).replace(" ", "")
    assert transcribed


@pytest.mark.slow
async def test_all_records_have_both_sides_words_in_the_same_order(
    talkative_pair: tuple[Path, Path], tmp_path: Path, logged: Logged
) -> None:
    """In memory, in both files and in the ``--on-end`` report, forced words included."""
    model, listening = talkative_pair
    options = EngineOptions(
        model=str(model), listen_model=str(listening), seed=1, greeting_frames=GREETING_FRAMES
    )
    (kept := tmp_path / "transcripts").mkdir()
    taps = TapOptions(transcripts=kept)
    state = ServerState(MoshiEngine(options, codec_limit_frames=500), Settings(taps=taps))
    async with hook(says(status=204)) as told:
        state.outbox = Outbox(Hook(told.url), tmp_path / "outbox")
        state.outbox.start()
        async with (
            serving(state) as address,
            httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as http,
        ):
            health = (await http.get("/healthz")).json()
            assert health["capabilities"] == ["listen", "say"]
            async with Phone.calling(address, start_message(call_sid=CALL_SID)) as phone:
                await babble(phone, 5)
                for chosen in ("bafo delu", "niko"):  # two in a row
                    answer = await http.post(f"/calls/{CALL_SID}/say", json={"text": chosen})
                    assert answer.status_code == 202
                await babble(phone, FRAMES)
                answer = await http.post(f"/calls/{CALL_SID}/say", json={"text": "too late"})
                assert answer.status_code == 202
                await phone.send({"event": "stop"})
                await phone.closed()
            await state.calls.wait_until_idle()
            state.files.flush(10)
            words = (await http.get(f"/calls/{CALL_SID}")).json()["words"]
        await state.outbox.stop()
    turns = [name for name, _ in groupby(line["speaker"] for line in words)]
    assert turns.count("caller") >= 2, words
    assert turns.count("bot") >= 2, words
    assert [line["at_s"] for line in words] == sorted(line["at_s"] for line in words)
    said = " ".join(line["text"] for line in words if line["speaker"] == "bot")
    assert said.count("bafo delu niko") == 1

    (report,) = told.told
    assert report["words"] == words
    assert report["files"].keys() == {"transcript"}
    first, *lines = lines_of(kept)
    assert first["engine"] == "moshi"
    assert lines == words
    (text,) = kept.glob("*.txt")
    heading, _, body = text.read_text().partition("\n\n")
    assert "engine: moshi" in heading
    assert [line.split(maxsplit=2)[1:] for line in body.splitlines()] == [
        [line["speaker"], line["text"]] for line in words
    ]
    assert "bafo" not in logged.text
    assert not [line for line in words if len(line["text"]) > 8 and line["text"] in logged.text]
