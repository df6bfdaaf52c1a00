"""A call with both tiny models through the real server: who said what, when, and words on demand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.moshi.engine import MoshiEngine
from engines.options import EngineOptions
from records.options import TapOptions
from server.state import ServerState
from tests.engines.moshi.test_call import GREETING_FRAMES, talk
from tests.logs import Logged
from tests.phone import Phone, serving, start_message

CALL_SID = "CA" + "4" * 32
FRAMES = 40


def lines_of(folder: Path) -> list[dict[str, Any]]:
    (written,) = folder.glob("*.jsonl")
    return [json.loads(line) for line in written.read_text().splitlines()]


@pytest.mark.slow
async def test_a_call_s_transcript_has_both_sides_and_what_was_said_on_purpose(
    tiny_checkpoint: Path, tiny_listening: Path, tmp_path: Path, logged: Logged
) -> None:
    options = EngineOptions(
        model=str(tiny_checkpoint),
        listen_model=str(tiny_listening),
        seed=1,
        greeting_frames=GREETING_FRAMES,
    )
    state = ServerState(MoshiEngine(options, codec_limit_frames=500), taps=TapOptions(transcripts=tmp_path))
    async with (
        serving(state) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as http,
    ):
        health = (await http.get("/healthz")).json()
        assert health["can"] == ["listen", "say"]
        async with Phone.calling(address, start_message(call_sid=CALL_SID)) as phone:
            await talk(phone, 5)
            answer = await http.post(f"/calls/{CALL_SID}/say", json={"text": "bafo delu"})
            assert answer.status_code == 202
            await talk(phone, FRAMES)
            words = (await http.get(f"/calls/{CALL_SID}")).json()["words"]
            await phone.send({"event": "stop"})
            await phone.closed()
        await state.calls.all_over()
        state.files.flush(10)
    assert {line["speaker"] for line in words} == {"caller", "bot"}
    assert [line["at_s"] for line in words] == sorted(line["at_s"] for line in words)
    said = " ".join(line["text"] for line in words if line["speaker"] == "bot")
    assert "bafo delu" in said

    first, *lines = lines_of(tmp_path)
    assert first["engine"] == "moshi"
    assert [line["at_s"] for line in lines] == sorted(line["at_s"] for line in lines)
    assert {line["speaker"] for line in lines} == {"caller", "bot"}
    assert "bafo" not in logged.text
    assert not [line for line in lines if len(line["text"]) > 8 and line["text"] in logged.text]
