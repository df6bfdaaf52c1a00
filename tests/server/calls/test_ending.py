"""A call ends with everything that belongs to it, whatever fails or hangs."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable

import httpx
import pytest
from fastapi import WebSocket

from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides, DuplexSession, EngineBusy, EngineFailed
from moshi_phone.server.calls import ending as call_ending
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.net.http_server import uvicorn_config
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.app import create_app
from moshi_phone.telephony.media_stream import Start
from moshi_phone.telephony.rest import TwilioApi
from moshi_phone.testing.engine import FakeEngine, FakeSession
from pipelines.call_worker import CallWorker
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, FakeTwilioApi
from tests.server.net.test_socket_closing import OUT_OF_MEMORY
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, serving_app, start_message
from tests.support.waiting import until

CALL = "CA" + "0" * 32
LOUD = bytes([0x10, 0x90] * 80)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_ending, "SESSION_SECS", 0.2)
    monkeypatch.setattr(call_ending, "PIPELINE_SECS", 0.2)


@pytest.fixture
def line(twilio: FakeTwilioApi) -> ServerState:
    twilio.calls[CALL] = {"sid": CALL, "status": "in-progress", "duration": None}
    twilio._steps[CALL] = deque()
    return ServerState(FakeEngine(), rest=TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url))


async def broken_call(
    line: ServerState, run: Callable[..., object], on_closed: Callable[[], None] = lambda: None
) -> tuple[int, str]:
    """Make a call that the server runs by ``run``; return how the socket was closed."""
    await line.engine.start(lambda _: None)
    config = uvicorn_config(create_app(line, run))  # type: ignore[arg-type]
    async with (
        serving_app(config) as address,
        Phone.calling(address, start_message(call_sid=CALL)) as phone,
    ):
        closed = await asyncio.wait_for(phone.closed(), 10)
        on_closed()
        await asyncio.wait_for(line.calls.wait_until_idle(), 10)
        return closed


def all_is_over(line: ServerState, twilio: FakeTwilioApi) -> None:
    assert (line.engine.running, len(line.calls.running), line.calls.served) == (0, 0, 1)
    assert twilio.calls[CALL]["status"] == "completed"


async def test_a_pipeline_that_raises(line: ServerState, twilio: FakeTwilioApi, logged: Logged) -> None:
    async def run(_: WebSocket, __: Call, ___: DuplexSession, ____: ServerState) -> None:
        raise RuntimeError("no such stage")

    assert await broken_call(line, run) == (1011, "the pipeline failed: RuntimeError")
    all_is_over(line, twilio)
    assert "no such stage" in logged.text


async def test_a_pipeline_that_ends_by_itself(line: ServerState, twilio: FakeTwilioApi) -> None:
    async def run(_: WebSocket, __: Call, ___: DuplexSession, ____: ServerState) -> None:
        return

    assert await broken_call(line, run) == (1000, "the pipeline ended")
    all_is_over(line, twilio)


async def test_a_pipeline_that_does_not_end(line: ServerState, twilio: FakeTwilioApi, logged: Logged) -> None:
    async def run(__: WebSocket, call: Call, ___: DuplexSession, ____: ServerState) -> None:
        call.request_end("enough")
        for _ in range(2):  # like pipecat's runner, it ignores the first cancellation
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue

    assert await broken_call(line, run) == (1000, "enough")
    all_is_over(line, twilio)
    assert "CA00000000 The call's pipeline did not stop within 0.2 s" in logged.text


async def until_ended(_: WebSocket, call: Call, ___: DuplexSession, ____: ServerState) -> None:
    """Run a call that ends at once."""
    call.request_end("enough")


@pytest.mark.parametrize(("pipeline_secs", "closed_after_secs"), [(0.1, 0.1), (3600, 0.3)])
async def test_a_session_that_listens_gives_its_last_words_before_it_is_closed(
    line: ServerState, monkeypatch: pytest.MonkeyPatch, pipeline_secs: float, closed_after_secs: float
) -> None:
    """A pipeline that hangs does not keep the session longer than that."""
    monkeypatch.setattr(call_ending, "LAST_WORDS_SECS", 0.3)
    loop, ended_s, closed_s = asyncio.get_running_loop(), list[float](), list[float]()

    close = FakeSession.close

    async def noted_close(session: FakeSession) -> None:
        closed_s.append(loop.time())
        await close(session)

    monkeypatch.setattr(FakeSession, "listens", True)
    monkeypatch.setattr(FakeSession, "close", noted_close)

    async def run(_: WebSocket, call: Call, __: DuplexSession, ___: ServerState) -> None:
        call.request_end("enough")
        ended_s.append(loop.time())
        await asyncio.sleep(pipeline_secs)

    assert await broken_call(line, run) == (1000, "enough")
    (took_s,) = [closed - ended for closed, ended in zip(closed_s, ended_s, strict=True)]
    assert closed_after_secs - 0.01 <= took_s < 3


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_session_that_does_not_close(
    line: ServerState, twilio: FakeTwilioApi, how: str, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def close(session: FakeSession) -> None:
        if how == "hangs":
            await asyncio.sleep(3600)
        raise EngineFailed("it does not want to")

    monkeypatch.setattr(FakeSession, "close", close)
    assert await broken_call(line, until_ended) == (1000, "enough")
    assert (len(line.calls.running), line.calls.served) == (0, 1)
    assert twilio.calls[CALL]["status"] == "completed"
    assert (
        "it does not want to" if how == "raises" else "CA00000000 The call's session did not stop"
    ) in logged.text


async def test_a_rest_api_that_does_not_answer(
    line: ServerState, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_ending, "HANG_UP_SECS", 0.2)

    class Silent(TwilioApi):
        async def hang_up(self, sid: str) -> None:
            await asyncio.sleep(3600)

    line.rest = Silent(ACCOUNT_SID, AUTH_TOKEN)
    assert await broken_call(line, until_ended) == (1000, "enough")
    assert (line.engine.running, len(line.calls.running), line.calls.served) == (0, 0, 1)
    assert "CA00000000 Twilio's API is slow" in logged.text


async def test_a_caller_is_redirected_before_the_socket_closes(line: ServerState) -> None:
    """Closing it first would end the phone call, and nothing could be redirected."""
    steps: list[str] = []

    class Slow(TwilioApi):
        async def redirect(self, sid: str, twiml: str, is_here: Callable[[], bool] | None = None) -> None:
            await asyncio.sleep(0.3)
            steps.append("led elsewhere")

    async def run(_: WebSocket, call: Call, ___: DuplexSession, ____: ServerState) -> None:
        call.request_end("our fault", 1011)

    line.rest = Slow(ACCOUNT_SID, AUTH_TOKEN)
    line.settings = Settings(calls=CallOptions(fallback_say="Sorry."))
    assert await broken_call(line, run, on_closed=lambda: steps.append("closed")) == (1011, "our fault")
    assert steps == ["led elsewhere", "closed"]


async def test_a_cancelled_call_ends_completely(line: ServerState, twilio: FakeTwilioApi) -> None:
    """uvicorn cancels running handlers at the end of its grace period."""

    async def run(_: WebSocket, call: Call, ___: DuplexSession, ____: ServerState) -> None:
        await call.wait_for_end()

    await line.engine.start(lambda _: None)
    session = line.engine.open_session()
    call = line.calls.begin(Start("MZ1", CALL, "AC1", {}, {}), session)
    never_accepted = WebSocket({"type": "websocket", "headers": [], "path": "/"}, None, None)  # type: ignore[arg-type]
    call.websocket = never_accepted
    life = asyncio.create_task(
        call_ending.run_to_its_end(run(None, call, session, line), call, session, line)  # type: ignore[arg-type]
    )
    await asyncio.sleep(0)
    life.cancel()
    with pytest.raises(asyncio.CancelledError):
        await life
    all_is_over(line, twilio)
    assert (await call.wait_for_end())[0] == "the call was cancelled"


async def test_an_engine_error_with_a_long_message(twilio: FakeTwilioApi, logged: Logged) -> None:
    """Metal's out-of-memory message is longer than a close frame allows."""

    class Session(FakeSession):
        def feed(self, pcm: object) -> None:
            raise AssertionError("not reached")

        async def outputs(self):  # type: ignore[no-untyped-def]
            raise EngineFailed(OUT_OF_MEMORY)
            yield

    class Engine(FakeEngine):
        def open_session(self, request: CallOverrides = NO_OVERRIDES) -> Session:
            self.sessions.append(Session(self))
            return self.sessions[-1]  # type: ignore[return-value]

    twilio.calls[CALL] = {"sid": CALL, "status": "in-progress", "duration": None}
    twilio._steps[CALL] = deque()
    line = ServerState(Engine(), rest=TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url))
    async with serving(line) as address, Phone.calling(address, start_message(call_sid=CALL)) as phone:
        code, reason = await asyncio.wait_for(phone.closed(), 10)
        await asyncio.wait_for(line.calls.wait_until_idle(), 10)
    assert code == 1011
    assert OUT_OF_MEMORY.startswith(reason.removesuffix("…"))
    all_is_over(line, twilio)
    assert OUT_OF_MEMORY in logged.text


async def test_a_refusal_with_a_long_message(logged: Logged) -> None:
    class Engine(FakeEngine):
        def open_session(self, request: CallOverrides = NO_OVERRIDES) -> FakeSession:
            raise EngineBusy("ü" * 200)

    line = ServerState(Engine())
    async with serving(line) as address, Phone.calling(address) as phone:
        assert await phone.closed() == (1013, "ü" * 60 + "…")
    assert "ü" * 200 in logged.text
    assert "Traceback" not in logged.text


def pipelines() -> list[CallWorker]:
    gc.collect()
    return [one for one in gc.get_objects() if type(one) is CallWorker]


async def test_nothing_of_an_ended_call_is_left() -> None:
    """No task, and no memory: ended calls are kept for the page, but not their pipelines."""
    others = {id(one) for one in pipelines()}
    line = ServerState(FakeEngine())
    async with serving(line) as address:
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            await client.get("/healthz")  # the server runs
        before = asyncio.all_tasks()
        for n in range(5):
            async with Phone.calling(address, start_message(call_sid=f"CA{n}")) as phone:
                await phone.say(LOUD, times=4)
                await phone.listen(frames=1)
                if n % 2:
                    phone.socket.transport.abort()
        await asyncio.wait_for(line.calls.wait_until_idle(), 10)
        await until(lambda: asyncio.all_tasks() <= before)  # some of the server's own were ending
    assert (line.calls.served, line.engine.running, len(line.calls.recent)) == (5, 0, 5)
    assert [one for one in pipelines() if id(one) not in others] == []
