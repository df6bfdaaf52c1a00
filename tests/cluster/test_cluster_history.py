"""cluster/cluster_history.py: the Calls page of a cluster, from a gateway over real sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import soundfile

from moshi_phone.access.options import WebOptions
from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.records.call_row import CallRow
from moshi_phone.records.call_store import CallStore
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.state import ServerState
from tests.cluster.local_cluster import LocalCluster, local_cluster, settings
from tests.cluster.test_untaken_calls import TWIML, fill, sid
from tests.support.waiting import until

PASSWORD = "long enough"


class Browser:
    """A browser with the page's password, at whichever gateway accepts its connection."""

    def __init__(self, cluster: LocalCluster, http: aiohttp.ClientSession) -> None:
        self._url = f"http://{cluster.address}/history"
        self._http = http

    async def get(self, path: str, **query: str) -> tuple[int, Any]:
        async with self._http.get(f"{self._url}/{path}", params=query) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else await answer.read()

    async def range(self, path: str, wanted: str) -> tuple[int, bytes, Mapping[str, str]]:
        async with self._http.get(f"{self._url}/{path}", headers={"Range": wanted}) as answer:
            return answer.status, await answer.read(), answer.headers

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        async with self._http.post(f"{self._url}/{path}", json=body) as answer:
            return answer.status, await answer.json()

    async def running(self) -> list[dict[str, Any]]:
        async with self._http.get(f"{self._url}/running") as answer:
            async for line in answer.content:
                if line.startswith(b"data:"):
                    found: list[dict[str, Any]] = json.loads(line[5:])["running"]
                    return found
        raise AssertionError("nothing was told")


def with_password() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(auth=aiohttp.BasicAuth("", PASSWORD))


def states(cluster: LocalCluster) -> list[ServerState]:
    return [state for name in ("w1", "w2") if (state := cluster.worker(name)._state)]


@pytest.mark.parametrize("is_stored", [False, True])
async def test_calls_of_all_workers_are_found(tmp_path: Path, is_stored: bool) -> None:
    database = tmp_path / "calls.db" if is_stored else None
    taps = TapOptions(calls_db=database, record=tmp_path)
    of = settings(taps=taps, web=WebOptions(web=True, web_password=PASSWORD))
    of = replace(of, hooks=replace(of.hooks, deny=("+44*",)))
    options = ClusterOptions(workers=2, gateways=2)
    async with local_cluster(options, of) as cluster, AsyncExitStack() as stack:
        http = await stack.enter_async_context(with_password())
        browser = Browser(cluster, http)
        await cluster.voice.call_in(TWIML, sid(3), "+441234567890")
        async with AsyncExitStack() as calls:
            await fill(cluster, calls)
            assert [call["outcome"] for call in await browser.running()] == ["running", "running"]
            first, second = await browser.running()
            assert (await browser.post(f"calls/{first['id']}/say", text="Hello"))[0] == 409, "a parrot"
            assert (await browser.post(f"calls/{first['id']}/transfer"))[0] == 409
            assert (await browser.post(f"calls/{first['id']}/hang-up"))[0] == 202
            await until(lambda: sum(len(state.calls.running) for state in states(cluster)) == 1)
            assert [call["id"] for call in await browser.running()] == [second["id"]]
            assert (await browser.post(f"calls/{first['id']}/hang-up"))[0] == 404, "it is over"
        await until(lambda: not any(state.calls.running for state in states(cluster)))
        status, told = await browser.get("calls")
        assert (status, told["total"], told["is_stored"], told["error"]) == (200, 3, is_stored, None)
        assert {call["outcome"] for call in told["calls"]} == {"denied", "answered"}
        status, found = await browser.get("calls", number="441234")
        assert [call["outcome"] for call in found["calls"]] == ["denied"]
        status, details = await browser.get(f"calls/{first['id']}")
        assert (status, details["reason"]) == (200, "the Calls page hung up")
        assert details["metrics"]["frames"] > 0, "as its worker has it"
        status, wav = await browser.get(f"calls/{first['id']}/recordings/0")
        assert (status, wav[:4]) == (200, b"RIFF")
        assert (await browser.get(f"calls/{first['id']}/picture"))[0] == 404
        assert (await browser.get("calls/nothing"))[0] == 404
        status, erased = await browser.post(f"calls/{first['id']}/delete", whole_caller=True)
        assert (status, erased["calls"], erased["running"]) == (200, 2, 0)
        status, told = await browser.get("calls")
        assert [call["outcome"] for call in told["calls"]] == ["denied"]
    assert not list(tmp_path.glob("*.wav"))  # noqa: ASYNC240


async def test_a_remote_recording_is_sent_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are not on the gateway's disk; the worker reads them."""
    monkeypatch.setattr("moshi_phone.cluster.cluster_history.size_of", lambda _: None)
    monkeypatch.setattr("moshi_phone.server.web.page_file.PIECE_BYTES", 1_000)
    of = settings(taps=TapOptions(record=tmp_path), web=WebOptions(web=True, web_password=PASSWORD))
    async with (
        local_cluster(ClusterOptions(workers=2), of) as cluster,
        with_password() as http,
    ):
        browser = Browser(cluster, http)
        async with AsyncExitStack() as calls:
            await fill(cluster, calls)
        await until(lambda: not any(state.calls.running for state in states(cluster)))
        _, told = await browser.get("calls")
        call = f"calls/{told['calls'][0]['id']}"
        status, wav = await browser.get(f"{call}/recordings/0")
        assert status == 200
        assert wav in [path.read_bytes() for path in tmp_path.glob("*.wav")]  # noqa: ASYNC240
        assert len(wav) > 3_000
        for wanted, found in (
            ("bytes=0-", wav),
            ("bytes=100-2199", wav[100:2200]),
            (f"bytes=2000-{len(wav)}", wav[2000:]),
            ("bytes=-5", wav[-5:]),
        ):
            status, part, headers = await browser.range(f"{call}/recordings/0", wanted)
            assert (status, part) == (206, found), wanted
            start = len(wav) - 5 if wanted == "bytes=-5" else int(wanted[6:].split("-")[0])
            assert headers["Content-Range"] == f"bytes {start}-{start + len(found) - 1}/{len(wav)}"
            assert headers["Cache-Control"] == "no-store"
        for wanted in (f"bytes={len(wav)}-", "bytes=-0", "bytes=9-8"):
            assert (await browser.range(f"{call}/recordings/0", wanted))[0] == 416, wanted
        for ignored in ("bytes=0-1,4-5", "lines=1-2", "bytes=-", f"bytes=0-{'9' * 5000}"):
            assert (await browser.range(f"{call}/recordings/0", ignored))[0] == 200, ignored
        status, levels = await browser.get(f"{call}/recordings/0/levels")
        assert (status, levels["secs"] > 0) == (200, True)
        assert (await browser.get(f"{call}/recordings/7"))[0] == 404
        assert (await browser.get(f"{call}/picture"))[0] == 404


async def test_a_remote_database_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has calls that are in no process's memory; a worker there reads it and its files."""
    monkeypatch.setattr("moshi_phone.cluster.cluster_history.size_of", lambda _: None)
    (there := tmp_path / "there").mkdir()
    recording = there / "2026-01-01T00-00-00Z-CA1.wav"
    soundfile.write(recording, np.zeros((8_000, 2)), 8_000, subtype="PCM_16")
    store = CallStore(there / "calls.db")
    store.start()
    for number in range(3):
        files = {"recording": str(recording)} if number == 2 else {}
        at = f"2026-01-01T00:00:0{number}.000Z"
        store.put(CallRow(id=f"old{number}", began_at=at, ended_at=at, files=files))
    assert store.flush(10)
    taps = TapOptions(calls_db=tmp_path / "calls.db")
    of = settings(taps=taps, web=WebOptions(web=True, web_password=PASSWORD))
    async with local_cluster(ClusterOptions(workers=2), of) as cluster, with_password() as http:
        browser = Browser(cluster, http)
        async with AsyncExitStack() as calls:
            await fill(cluster, calls)
        await until(lambda: not any(state.calls.running for state in states(cluster)))
        state = states(cluster)[0]
        kept, state.history.store = state.history.store, store
        _, told = await browser.get("calls", limit="3")
        assert (told["total"], told["more"]) == (5, True)
        assert [call["id"] for call in told["calls"][2:]] == ["old2"]
        last = told["calls"][-1]
        _, told = await browser.get("calls", limit="3", before_at=last["began_at"], before_id=last["id"])
        assert [call["id"] for call in told["calls"]] == ["old1", "old0"]
        assert (told["total"], told["more"]) == (5, False)
        assert (await browser.get("calls/old2"))[1]["recordings"] == [recording.name]
        assert (await browser.get("calls/old2/recordings/0"))[1] == recording.read_bytes()
        assert (await browser.get("calls/old9"))[0] == 404
        assert (await browser.post("calls/old2/delete"))[1]["calls"] == 1
        assert (await browser.get("calls/old2"))[0] == 404
        state.history.store = kept
    store.close(5)


async def test_access_is_required(tmp_path: Path) -> None:
    of = settings(web=WebOptions(web=True, web_password=PASSWORD))
    options = ClusterOptions(workers=1, gateways=1)
    async with local_cluster(options, of) as cluster, aiohttp.ClientSession() as http:
        browser = Browser(cluster, http)
        for path in ("calls", "running", "calls/a", "calls/a/recordings/0", "calls/a/picture"):
            assert (await browser.get(path))[0] == 401, path


async def test_a_worker_that_does_not_answer_is_left_out(tmp_path: Path) -> None:
    of = settings(web=WebOptions(web=True, web_password=PASSWORD))
    async with local_cluster(ClusterOptions(workers=2), of) as cluster, AsyncExitStack() as stack:
        browser = Browser(cluster, await stack.enter_async_context(with_password()))
        async with AsyncExitStack() as calls:
            await fill(cluster, calls)
        cluster.runtime.processes["w1"].alive = False
        status, told = await browser.get("calls")
        assert (status, len(told["calls"])) == (200, 1)
        cluster.runtime.processes["w1"].alive = True
