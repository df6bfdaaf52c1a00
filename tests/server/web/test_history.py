"""server/web/history.py: the Calls page's routes, with real files and a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from bot import run_call
from moshi_phone.access.options import WebOptions
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.hooks.http import Hook
from moshi_phone.hooks.outbox import Outbox
from moshi_phone.records.call_database import check_database
from moshi_phone.records.call_history import CallHistory
from moshi_phone.records.call_row import CallRow, Outcome
from moshi_phone.records.call_store import CallStore
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.app import create_app
from moshi_phone.server.web.history_source import HistorySource
from moshi_phone.testing.engine import FakeEngine
from tests.fakes.twilio_api import FakeTwilioApi
from tests.server.talking_line import CALL, PERSON, Line, TalkingEngine, talk
from tests.support.phone import Phone

NAME = "2026-11-30T08-00-00Z-CA1"
CALLER = "+15551234567"
JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def client(state: ServerState) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(state, run_call))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http


def stored(tmp_path: Path) -> ServerState:
    check_database(tmp_path / "calls.db")
    store = CallStore(tmp_path / "calls.db")
    store.start()
    return ServerState(FakeEngine(), history=CallHistory(store))


def record(folder: Path, name: str = NAME) -> dict[str, str]:
    """Write the files of a call of 2 s: the caller is loud in the first, the bot in the second."""
    both = np.zeros((16_000, 2), np.int16)
    both[:8_000, 0], both[8_000:, 1] = 32_767, 328
    soundfile.write(folder / f"{name}.wav", both, 8_000, subtype="PCM_16")
    (folder / f"{name}.txt").write_text("words\n")
    lines = [{"date": "x"}, {"at_s": 0.5, "speaker": "caller", "text": "<b>Hi"}, {"at_s": True}, "no line"]
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / f"{name}.json").write_text("{}")
    (folder / name).mkdir()
    for one in ("report.md", "report.json", "conversation.png"):
        (folder / name / one).write_text('{"criteria": []}')
    return {"recording": str(folder / f"{name}.wav"), "transcript": str(folder / f"{name}.txt")}


async def test_the_list_covers_memory_and_database_in_pages(tmp_path: Path) -> None:
    state = stored(tmp_path)
    store = state.history.store
    assert isinstance(store, CallStore)
    earlier = CallHistory(store)
    for number in range(30):
        earlier.add(
            CallRow(id=f"{number:02}", began_at=f"2026-11-29T08:{number:02}:00.000Z", from_number=CALLER)
        )
    assert await asyncio.to_thread(store.flush, 5)
    state.history.add(CallRow(id="30", began_at="2026-11-30T08:00:00.000Z", outcome=Outcome.BUSY))
    async with client(state) as http:
        ids, query = list[str](), {"limit": "12"}
        while True:
            told = (await http.get("/history/calls", params=query)).json()
            ids += [call["id"] for call in told["calls"]]
            if not told["more"]:
                break
            last = told["calls"][-1]
            query |= {"before_at": last["began_at"], "before_id": last["id"]}
        assert ids == [f"{number:02}" for number in range(30, -1, -1)]
        assert (told["is_stored"], told["error"]) == (True, None)
        found = (
            await http.get("/history/calls", params={"number": "234567", "since": "2026-11-29T08:28"})
        ).json()
        assert [call["id"] for call in found["calls"]] == ["29", "28"]
        assert found["total"] == 2
        busy = (await http.get("/history/calls", params={"outcome": "busy"})).json()
        assert [call["id"] for call in busy["calls"]] == ["30"]
        for bad in ({"limit": "501"}, {"limit": "0"}, {"outcome": "fine"}, {"number": "1" * 65}):
            assert (await http.get("/history/calls", params=bad)).status_code == 422
        # The database is gone: the calls in memory are shown, with an error.
        store.path = tmp_path / "gone.db"
        told = (await http.get("/history/calls")).json()
        assert [call["id"] for call in told["calls"]] == ["30"]
        assert "cannot be read now" in told["error"]
        assert (await http.get("/history/calls/00")).status_code == 503
    store.close(5)


async def test_a_call_has_its_transcript_recording_and_report(tmp_path: Path) -> None:
    state = ServerState(FakeEngine())
    state.history.add(CallRow(id="a", from_number=CALLER, files=record(tmp_path), metrics={"frames": 25}))
    async with client(state) as http:
        told = (await http.get("/history/calls/a")).json()
        assert told["words"] == [{"at_s": 0.5, "speaker": "caller", "text": "<b>Hi"}]
        assert told["report"] == {"criteria": []}
        assert (told["recordings"], told["metrics"], told["whole_caller"]) == (
            [f"{NAME}.wav"],
            {"frames": 25},
            True,
        )
        url = "/history/calls/a/recordings/0"
        whole = await http.get(url)
        assert whole.content == (tmp_path / f"{NAME}.wav").read_bytes()
        assert (whole.headers["content-type"], whole.headers["cache-control"]) == ("audio/wav", "no-store")
        part = await http.get(url, headers={"Range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, whole.content[100:200])
        assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
        assert (await http.get(url, headers={"Range": "bytes=999999999-"})).status_code == 416
        levels = (await http.get(f"{url}/levels")).json()
        assert levels["secs"] == 2.0
        assert (levels["caller"][0], levels["caller"][-1]) == (100, 0)
        assert levels["bot"][0] == 0 < levels["bot"][-1] < 20
        assert len(levels["caller"]) == len(levels["bot"]) <= 600
        assert (await http.get("/history/calls/a/picture")).status_code == 200
        for missing in (
            "/history/calls/b",
            f"{url}1",
            "/history/calls/a/recordings/-1",
            "/history/calls/a/recordings/x",
        ):
            assert (await http.get(missing)).status_code in {404, 422}


async def test_a_row_cannot_name_other_files(tmp_path: Path) -> None:
    """A manipulated database must not make the page show, or delete, other files."""
    (tmp_path / "secret.wav").write_bytes(b"x")
    (tmp_path / "secret.jsonl").write_text('{"at_s": 0, "speaker": "bot", "text": "secret"}')
    state = ServerState(FakeEngine())
    names = {"recording": "secret.wav", "transcript": "secret.txt", "other": f"{NAME}.wav/../secret.wav"}
    row = CallRow(id="a", files={name: str(tmp_path / path) for name, path in names.items()}, ended_at="x")
    state.history.add(row)
    async with client(state) as http:
        told = (await http.get("/history/calls/a")).json()
        assert (told["recordings"], told["words"]) == ([], None)
        assert (await http.get("/history/calls/a/recordings/0")).status_code == 404
        assert (await http.post("/history/calls/a/delete", json={})).json() == {
            "calls": 1,
            "files": 0,
            "running": 0,
        }
    assert (tmp_path / "secret.wav").exists()


async def test_a_caller_s_data_is_deleted_with_all_files(tmp_path: Path) -> None:
    state = stored(tmp_path)
    store = state.history.store
    assert isinstance(store, CallStore)
    folder, outbox = tmp_path / "recordings", tmp_path / "outbox"
    folder.mkdir()
    outbox.mkdir()
    for sid in ("CA1", "CA2"):
        (outbox / f"{sid}.json").write_text(json.dumps({"call_sid": sid}))
    state.outbox = Outbox(Hook("http://127.0.0.1:9/"), outbox)
    mine = CallRow(id="a", call_sid="CA1", from_number=CALLER, files=record(folder), ended_at="x")
    dialled = CallRow(id="b", call_sid="CA3", to_number=CALLER, direction="outbound-api", ended_at="x")
    CallHistory(store).add(dialled)  # of an earlier run
    other_files = record(folder, "2026-11-30T09-00-00Z-CA2")
    for row in (
        mine,
        CallRow(id="c", call_sid="CA2", from_number="+15550000000", to_number=CALLER, files=other_files),
        CallRow(id="d", from_number="anonymous", ended_at="x"),
        CallRow(id="e", from_number="anonymous", ended_at="x"),
    ):
        state.history.add(row)
    assert await asyncio.to_thread(store.flush, 5)
    async with client(state) as http:
        for body, headers, status in ((b"{}", {}, 415), (b"[]", JSON, 422), (b"{" * 9999, JSON, 413)):
            answer = await http.post("/history/calls/a/delete", content=body, headers=headers)
            assert answer.status_code == status
        gone = await http.post("/history/calls/a/delete", json={"whole_caller": True})
        assert gone.json() == {"calls": 2, "files": 7, "running": 0}
        # Calls of hidden numbers have no known caller: only the one is deleted.
        hidden = await http.post("/history/calls/d/delete", json={"whole_caller": True})
        assert hidden.json() == {"calls": 1, "files": 0, "running": 0}
        left = (await http.get("/history/calls")).json()
        assert sorted(call["id"] for call in left["calls"]) == ["c", "e"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "2026-11-30T09-00-00Z-CA2" + end for end in ("", ".json", ".jsonl", ".txt", ".wav")
    ]
    assert [path.name for path in outbox.iterdir()] == ["CA2.json"]
    store.close(5)


async def test_a_call_that_cannot_be_deleted_keeps_its_row(tmp_path: Path) -> None:
    state = ServerState(FakeEngine())
    (tmp_path / f"{NAME}.wav").mkdir()
    state.history.add(CallRow(id="a", files={"recording": str(tmp_path / f"{NAME}.wav")}, ended_at="x"))
    async with client(state) as http:
        answer = await http.post("/history/calls/a/delete", json={})
        assert answer.status_code == 503
        assert "Not everything could be deleted" in answer.json()["detail"]
        assert (await http.get("/history/calls/a")).status_code == 200


async def test_running_calls_are_listed_and_controlled(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine(capabilities=frozenset({"say"}))
    made = Line(twilio, engine, transfer_to=PERSON)
    web = WebOptions(web=True, web_password="long enough")
    made.state.settings = replace(made.state.settings, web=web)
    async with made.serving() as line, client(line.state) as http:
        http.auth = httpx.BasicAuth("", "long enough")
        for how in ("say", "transfer", "hang-up"):
            async with line.call() as phone:
                await talk(phone)
                (call,) = (await HistorySource(line.state).running())["running"]
                assert (call["from"], call["can_say"], call["can_transfer"]) == (CALLER, True, True)
                url = f"/history/calls/{call['id']}"
                assert (await http.get(url)).json()["metrics"]["frames"] >= 2
                assert (await http.post(f"{url}/{how}", content=b"x=1")).status_code == 415
                await act(http, url, how, engine)
                if how == "say":
                    assert (await http.post(f"{url}/say", json={"text": " "})).status_code in {202, 422}
                    assert (await http.post(f"{url}/delete", json={})).json()["running"] == 1
                    await phone.send({"event": "stop"})
                await ends(phone)
            await line.state.calls.wait_until_idle()
            assert (await http.post(f"{url}/hang-up", json={})).status_code == 404
    assert line.state.history.rows[0].reason == "the Calls page hung up"


async def act(http: httpx.AsyncClient, url: str, how: str, engine: TalkingEngine) -> None:
    answer = await http.post(f"{url}/{how}", json={"text": "The doctor is late."})
    assert answer.status_code == 202
    if how == "say":
        assert engine.spoken == ["The doctor is late."]


async def ends(phone: Phone) -> None:
    assert (await asyncio.wait_for(phone.closed(), 10))[0] == 1000


@pytest.mark.parametrize("web", [False, True])
async def test_all_routes_require_the_page_s_access(tmp_path: Path, web: bool) -> None:
    settings = Settings(web=WebOptions(web=web, web_password="long enough"))
    state = ServerState(FakeEngine(), settings)
    state.auth.address = PublicAddress("https://phone.example.com")
    state.history.add(CallRow(id="a", call_sid=CALL, files=record(tmp_path)))
    paths = [
        "",
        "/calls",
        "/running",
        "/calls/a",
        "/calls/a/recordings/0",
        "/calls/a/recordings/0/levels",
        "/calls/a/picture",
    ]
    async with client(state) as http:
        for path in paths:
            assert (await http.get(f"/history{path}")).status_code == (401 if web else 403), path
        for how in ("hang-up", "transfer", "say", "delete"):
            answer = await http.post(f"/history/calls/a/{how}", json={"text": "x"})
            assert answer.status_code == (401 if web else 403), how
        if web:
            auth = httpx.BasicAuth("", "long enough")
            assert (await http.get("/history/calls/a", auth=auth)).status_code == 200
    assert (tmp_path / f"{NAME}.wav").exists()
