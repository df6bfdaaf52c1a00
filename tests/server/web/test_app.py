from __future__ import annotations

import httpx
import pytest

from moshi_phone.access.refusal import Refusal, RefusalCause
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.runtime.version import VERSION
from moshi_phone.server.calls.admission import reserve
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.health import ENGINE_ERROR
from moshi_phone.testing.engine import FakeEngine
from tests.support.logs import Logged
from tests.support.phone import Phone, serving


async def test_healthz_reports_engine_capacity_and_calls() -> None:
    line = ServerState(ParrotEngine(delay_s=0, capacity=3))
    async with serving(line) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        idle = await client.get("/healthz")
        assert idle.status_code == 200
        assert idle.json() == {
            "ready": True,
            "error": None,
            "engine": "parrot",
            "capabilities": [],
            "supported_overrides": [],
            "capacity": 3,
            "load": {"lag_ms": 0.0, "deadline_misses": 0.0, "overloaded": False},
            "sessions": 0,
            "free": 3,
            "calls": 0,
            "served": 0,
            "lost": 0,
            "refused": {},
            "version": VERSION,
        }
        async with Phone.calling(address) as phone:
            await phone.say(times=4)
            await phone.listen(frames=1)
            busy = (await client.get("/healthz")).json()
        assert (busy["sessions"], busy["free"], busy["calls"]) == (1, 2, 1)


async def test_healthz_is_503_until_the_engine_is_ready() -> None:
    line = ServerState(ParrotEngine(delay_s=0))
    async with serving(line) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        await line.engine.stop()
        answer = await client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["error"] == ENGINE_ERROR


async def test_healthz_contains_no_exception_text_and_the_log_has_it_once(logged: Logged) -> None:
    class Failing(FakeEngine):
        failure: str | None = None

        @property
        def error(self) -> str | None:
            return self.failure

    engine = Failing()
    line = ServerState(engine)
    async with serving(line) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        assert (await client.get("/healthz")).status_code == 200
        engine.failure = "This call ended because the model failed: /home/me/secret.safetensors"
        for _ in range(3):
            answer = await client.get("/healthz")
            assert (answer.status_code, answer.json()["error"]) == (503, ENGINE_ERROR)
            assert "secret" not in answer.text
        assert reserve(line, "CA1") == Refusal(RefusalCause.ENGINE, str(engine.failure))
        await logged.says("secret.safetensors")  # the watchdog's, not the reader's
        engine.failure = None
        assert (await client.get("/healthz")).json()["error"] is None
        await logged.says("The engine takes calls again")
    assert logged.text.count("secret.safetensors") == 1
    assert logged.text.count("The engine takes calls again") == 1


@pytest.mark.parametrize("path", ["/twiml/", "/status/", "/healthz/", "/calls/CA1/events/"])
async def test_a_trailing_slash_is_not_redirected(path: str) -> None:
    async with (
        serving(ServerState(ParrotEngine())) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        for method in ("GET", "POST"):
            answer = await client.request(method, path, headers={"Host": "evil.example.com"})
            assert answer.status_code in (403, 404)
            assert "location" not in answer.headers


async def test_other_paths_are_404() -> None:
    async with (
        serving(ServerState(ParrotEngine())) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as client,
    ):
        for path in ("/docs", "/openapi.json", "/stream", "/.env"):
            assert (await client.get(path)).status_code == 404


async def test_a_stopping_server_ends_its_calls() -> None:
    line = ServerState(ParrotEngine(delay_s=0))
    async with serving(line) as address:
        async with Phone.calling(address) as phone:
            await phone.say(times=4)
            await phone.listen(frames=1)
            line.calls.end_all("the server stops")
            assert await phone.closed() == (1000, "the server stops")
        assert line.engine.running == 0
