"""Every way in which a call ends: when its session is free, and whether Twilio is informed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import pytest

from bot import run_call
from moshi_phone.conversation.live import Judge
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.app import create_app
from moshi_phone.telephony.rest import TwilioApi
from moshi_phone.testing.engine import FakeEngine
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, FakeTwilioApi
from tests.support.fake_sleep import Naps
from tests.support.inline_executor import InlineExecutor
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, start_message
from tests.support.simulated import SimulatedPhone, run_simulated

CALL = "CA" + "0" * 32
LOUD = bytes([0x10, 0x90] * 80)


class Caller(SimulatedPhone):
    """A phone that a test controls step by step."""

    def begin(self) -> None:
        self._say({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        self._say(self._start)
        self.server = asyncio.ensure_future(self._serve())

    def stop(self) -> None:
        """Send Twilio's stop message."""
        self._say({"event": "stop"})

    def vanish(self) -> None:
        """Reset the connection."""
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1006})


@pytest.mark.parametrize(
    ("how", "after_secs"),
    [("stop", 0), ("closed socket", 0), ("idle", 30), ("shutdown", 0), ("key", 0)],
)
def test_the_session_is_free_within_a_second(how: str, after_secs: float) -> None:
    async def test() -> None:
        engine = FakeEngine()
        # Judged at once: a thread does not run in simulated time.
        line = ServerState(
            engine, Settings(server=ServerOptions(hangup_key="#")), judge=Judge(InlineExecutor())
        )
        await engine.start(lambda _: None)
        caller = Caller(create_app(line, run_call), start_message())
        caller.begin()
        await asyncio.sleep(1)
        assert engine.running == 1
        ways: dict[str, Callable[[], None]] = {
            "stop": caller.stop,
            "closed socket": caller.vanish,
            "idle": lambda: None,
            "shutdown": lambda: line.calls.end_all("the line is shutting down"),
            "key": lambda: caller._say({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "#"}}),
        }
        ways[how]()
        await asyncio.sleep(after_secs + 1)
        assert engine.running == 0
        assert not line.calls.running
        await caller.server

    run_simulated(test())


def test_a_call_on_hold_is_not_ended_where_the_option_says_never() -> None:
    async def test() -> None:
        line = ServerState(FakeEngine(), Settings(server=ServerOptions(idle_secs=0)))
        await line.engine.start(lambda _: None)
        caller = Caller(create_app(line, run_call), start_message())
        caller.begin()
        await asyncio.sleep(3600)
        (call,) = line.calls.running
        assert call in line.calls.running
        caller.stop()
        await caller.server

    run_simulated(test())


@pytest.fixture
def line(twilio: FakeTwilioApi) -> ServerState:
    twilio.calls[CALL] = {"sid": CALL, "status": "in-progress", "duration": None}
    twilio._steps[CALL] = deque()
    rest = TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url, sleep=Naps())
    return ServerState(FakeEngine(), Settings(server=ServerOptions(hangup_key="#")), rest=rest)


async def in_a_call(line: ServerState, then: Callable[[Phone], object]) -> tuple[int, str]:
    """Call, and act once the server has answered; return how the socket was closed."""
    async with serving(line) as address, Phone.calling(address, start_message(call_sid=CALL)) as phone:
        await phone.say(LOUD, times=4)
        await phone.listen(1)
        await then(phone)  # type: ignore[misc]
        closed = await phone.closed()
        await line.calls.wait_until_idle()
        return closed


async def press(phone: Phone, digit: str) -> None:
    await phone.send(
        {"event": "dtmf", "streamSid": "MZ1", "dtmf": {"track": "inbound_track", "digit": digit}}
    )


async def test_the_hang_up_key_ends_the_call(line: ServerState, twilio: FakeTwilioApi) -> None:
    assert await in_a_call(line, lambda phone: press(phone, "#")) == (1000, "the caller pressed #")
    assert twilio.made("POST", f"Calls/{CALL}.json") == [{"Status": ["completed"]}]
    assert twilio.calls[CALL]["status"] == "completed"


async def test_other_keys_do_nothing(line: ServerState, twilio: FakeTwilioApi) -> None:
    async def keys(phone: Phone) -> None:
        for digit in "0123456789*":
            await press(phone, digit)
        await phone.say(LOUD, times=4)
        await phone.listen(1)
        assert line.calls.running
        await phone.send({"event": "stop"})

    assert await in_a_call(line, keys) == (1000, "the caller hung up")


async def test_without_the_option_no_key_hangs_up(line: ServerState) -> None:
    async def keys(phone: Phone) -> None:
        await press(phone, "#")
        await phone.say(LOUD, times=4)
        await phone.listen(1)
        await phone.send({"event": "stop"})

    line.settings = Settings()
    assert await in_a_call(line, keys) == (1000, "the caller hung up")


async def test_a_call_that_twilio_ended_is_not_ended_again(line: ServerState, twilio: FakeTwilioApi) -> None:
    await in_a_call(line, lambda phone: phone.send({"event": "stop"}))
    assert twilio.requests == []


async def test_our_side_ends_all_calls(line: ServerState, twilio: FakeTwilioApi) -> None:
    async def end(_: Phone) -> None:
        line.calls.end_all("the line is shutting down")

    assert await in_a_call(line, end) == (1000, "the line is shutting down")
    assert twilio.made("POST", f"Calls/{CALL}.json") == [{"Status": ["completed"]}]


@pytest.mark.parametrize("status", [404, 401])
async def test_a_failed_hang_up_does_not_keep_the_session(
    line: ServerState, twilio: FakeTwilioApi, status: int, logged: Logged
) -> None:
    twilio.fail(status, {404: 20404, 401: 20003}.get(status), "no")
    await in_a_call(line, lambda phone: press(phone, "#"))
    assert line.engine.running == 0
    assert ("could not be hung up" in logged.text) == (status != 404)
    assert AUTH_TOKEN not in logged.text


@pytest.mark.parametrize("status", [429, 500])
async def test_a_hang_up_is_retried(line: ServerState, twilio: FakeTwilioApi, status: int) -> None:
    twilio.fail(status, None, "later")
    await in_a_call(line, lambda phone: press(phone, "#"))
    assert twilio.calls[CALL]["status"] == "completed"
    assert len(twilio.made("POST", f"Calls/{CALL}.json")) == 2
