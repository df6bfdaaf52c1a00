from __future__ import annotations

import pytest
from fastapi import FastAPI, Response

from moshi_phone.rehearse import status_client
from moshi_phone.rehearse.record import StatusSample
from moshi_phone.rehearse.status_client import StatusClient, as_sample
from moshi_phone.server.net.http_server import uvicorn_config
from tests.support.phone import serving_app
from tests.support.waiting import until

SAYS = {"backlog_frames": 2, "playout_lead_ms": 40.5, "dropped_frames": 1, "trimmed_ms": 80, "more": "x"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_client, "POLL_S", 0.01)


def test_the_server_s_status_of_a_call_is_read() -> None:
    assert as_sample(SAYS, 1.5) == StatusSample(1.5, 2, 40.5, 1, 80.0)
    parts = {"frame": 80.0, "filters": 3.0, "processing": 5.0, "playout": 6.0}
    assert as_sample(SAYS | {"delay_parts_ms": parts}, 1.5) == StatusSample(1.5, 2, 40.5, 1, 80.0, 3.0)


@pytest.mark.parametrize("says", [{}, SAYS | {"backlog_frames": None}, SAYS | {"trimmed_ms": "much"}])
def test_another_server_s_answer_is_ignored(says: dict[str, object]) -> None:
    assert as_sample(says, 1.5) is None


async def test_an_unreachable_server_raises_nothing() -> None:
    client = StatusClient("ws://127.0.0.1:9/stream")
    assert await client.health() is None
    assert await client.free(0) is None


async def test_waiting_for_free_sessions_reports_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_client, "FREE_WITHIN_S", 60)
    app, sessions = FastAPI(), [3, 3, 1]
    app.get("/healthz")(lambda: {"sessions": sessions.pop(0) if len(sessions) > 1 else 1, "capacity": 4})
    async with serving_app(uvicorn_config(app)) as address:
        client = StatusClient(f"ws://{address}/stream")
        assert await client.free(1) == (True, "1 of 4 sessions open")
        monkeypatch.setattr(status_client, "FREE_WITHIN_S", 0.05)
        assert await client.free(0) == (False, "1 sessions still open after 0.05 s")


async def test_a_closing_server_has_a_status_and_a_refusing_one_has_none() -> None:
    app = FastAPI()
    app.get("/healthz")(lambda: Response('{"ready": false}', 503, media_type="application/json"))
    app.get("/calls/CA1")(lambda: Response('{"detail": "no"}', 401, media_type="application/json"))
    async with serving_app(uvicorn_config(app)) as address:
        client = StatusClient(f"ws://{address}/stream")
        assert await client.health() == {"ready": False}
        assert await client.sample("CA1") is None


async def test_it_collects_samples_while_the_block_runs() -> None:
    app, told = FastAPI(), list[StatusSample]()
    app.get("/calls/CA1")(lambda: SAYS)
    async with (
        serving_app(uvicorn_config(app)) as address,
        StatusClient(f"ws://{address}/stream").listening("CA1", told),
    ):
        await until(lambda: len(told) >= 2)
    assert told[0].backlog_frames == 2
    assert told[0].at_s < told[1].at_s
