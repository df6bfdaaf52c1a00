"""The bot's last words are played to their end, in simulated time: goodbyes, notices, messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from bot import run_call
from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import FRAME_SAMPLES
from moshi_phone.engines.duplex import NO_OVERRIDES, CallerText, CallOverrides, DuplexStep
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.control import CallControl
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.app import create_app
from moshi_phone.telephony.rest import TwilioApi
from moshi_phone.testing.engine import FakeEngine, FakeSession
from tests.support.phone import start_message
from tests.support.simulated import SimulatedPhone, run_simulated

WORD_FRAMES = 9  # 720 ms, from the frame with its text
QUIET = np.zeros(FRAME_SAMPLES, np.float32)
LOUD = (0.3 * np.sin(np.arange(FRAME_SAMPLES) * 2 * np.pi / 60)).astype(np.float32)
WORD_MS = WORD_FRAMES * 80


class WordySession(FakeSession):
    """Says words whose sound starts with the text and lasts 720 ms, as in speech."""

    def __init__(self, engine: WordyEngine) -> None:
        super().__init__(engine)
        self._script = engine
        self._loud_frames = 0
        self._text: list[str] = []
        self._drawn = asyncio.Event()

    async def outputs(self) -> AsyncIterator[DuplexStep]:
        async for _ in super().outputs():
            if words := self._script.bot.get(self.steps):
                self._text = [words]
            text = self._text.pop() if self._text else ""
            if text:
                self._loud_frames = WORD_FRAMES
                self._drawn.set()
            self._loud_frames -= 1
            heard = self._script.caller.get(self.steps, "")
            yield DuplexStep(
                LOUD if self._loud_frames >= 0 else QUIET,
                text,
                caller_text=(CallerText(heard, self.steps * 0.08),) if heard else (),
            )

    def say(self, text: str) -> None:
        self._drawn.clear()
        self._text = [f" {text}"]

    async def said(self) -> None:
        await self._drawn.wait()


class WordyEngine(FakeEngine):
    """Creates such sessions from two scripts: the words of each frame."""

    def __init__(self, step_secs: Callable[[int], float] = lambda _: 0.0) -> None:
        super().__init__(step_secs=step_secs)
        self.bot: dict[int, str] = {}
        self.caller: dict[int, str] = {}

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> WordySession:
        super().open_session(request)
        self.sessions[-1] = session = WordySession(self)
        return session


class Caller(SimulatedPhone):
    """Records when the server closed the stream: audio in Twilio's buffer is lost then."""

    closed_s = 0.0

    async def _hear(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self.closed_s = asyncio.get_running_loop().time()
        await super()._hear(message)


class Rest(TwilioApi):
    """Records each request at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def redirect(self, sid: str, twiml: str, is_here: Callable[[], bool] | None = None) -> None:
        self.asked.append("redirect")

    async def hang_up(self, sid: str) -> None:
        self.asked.append("hang up")


def stall(at_step: int, secs: float) -> Callable[[int], float]:
    return lambda step: secs if step == at_step else 0.0


def call(
    engine: WordyEngine, act: Callable[[ServerState, Call], object] | None = None, **options: object
) -> tuple[float, float, list[str]]:
    """Talk for six seconds; return the milliseconds heard, the end, and the requests."""

    async def test() -> tuple[float, float, list[str]]:
        rest = Rest()
        settings = Settings(
            server=ServerOptions(hangup_key="#"),
            calls=CallOptions(**options),  # type: ignore[arg-type]
        )
        state = ServerState(engine, settings, rest=rest)
        await engine.start(lambda _: None)
        phone = Caller(create_app(state, run_call), start_message())
        loop = asyncio.get_running_loop()

        def begin() -> None:
            if act:
                act(state, next(iter(state.calls.running)))

        loop.call_later(1.0, begin)
        began_s = loop.time()
        await phone.talk(np.zeros(8000 * 6, np.float32))
        end_s = phone.closed_s or loop.time()
        heard = pcm.to_float(g711.decode(phone.playback.heard(end_s).tobytes()))
        return float((np.abs(heard) > 0.05).sum() / 8 / 0.93), end_s - began_s, rest.asked

    return run_simulated(test())


@pytest.mark.parametrize("step_secs", [stall(0, 0.0), stall(13, 0.6), stall(16, 0.6), stall(9, 0.6)])
def test_a_goodbye_is_played_to_its_end(step_secs: Callable[[int], float]) -> None:
    engine = WordyEngine(step_secs)
    engine.caller, engine.bot = {5: " Goodbye."}, {10: " Goodbye!"}
    heard_ms, ended_s, asked = call(engine, hangup_phrase=("goodbye",))
    assert heard_ms == pytest.approx(WORD_MS, rel=0.1)
    assert 0.8 + 0.72 < ended_s < 0.8 + 0.72 + 0.6 + 1.0
    assert asked == ["hang up"]


def test_a_silent_bot_is_not_waited_for() -> None:
    engine = WordyEngine()
    engine.caller, engine.bot = {30: " Goodbye."}, {2: " Goodbye!"}
    _, ended_s, _ = call(engine, hangup_phrase=("goodbye",))
    assert ended_s < 30 * 0.08 + 0.4


def test_an_endlessly_talking_bot_is_waited_for_for_a_limited_time() -> None:
    engine = WordyEngine()
    engine.caller, engine.bot = {2: " Goodbye."}, dict.fromkeys(range(3, 75, 3), " Goodbye!")
    _, ended_s, asked = call(engine, hangup_phrase=("goodbye",))
    assert 4 < ended_s < 6
    assert asked == ["hang up"]


def test_a_caller_who_continues_is_not_hung_up_on() -> None:
    engine = WordyEngine()
    engine.caller, engine.bot = {5: " Goodbye.", 14: " Wait, one more thing"}, {10: " Goodbye!"}
    _, ended_s, _ = call(engine, hangup_phrase=("goodbye",))
    assert ended_s > 6, "the caller hung up in the end"
    engine = WordyEngine()
    engine.caller = {5: " Goodbye.", 14: " Wait", 35: " Goodbye."}
    engine.bot = {10: " Goodbye!", 40: " Goodbye!"}
    _, ended_s, asked = call(engine, hangup_phrase=("goodbye",))
    assert 3.9 < ended_s < 5, "and who says goodbye again is"
    assert asked == ["hang up"]


def test_a_notice_is_played_before_the_transfer() -> None:
    def transfer(state: ServerState, running: Call) -> None:
        CallControl(running, state).transfer("the caller asked", "+15559990000")

    heard_ms, ended_s, asked = call(WordyEngine(), transfer, transfer_notice="One moment, please.")
    assert heard_ms == pytest.approx(WORD_MS, rel=0.1)
    assert ended_s < 1 + 0.08 + 0.72 + 0.8
    assert asked == ["redirect"]


@pytest.mark.parametrize("step_secs", [stall(0, 0.0), stall(18, 0.6)])
def test_a_message_is_left_completely(step_secs: Callable[[int], float]) -> None:
    def leave(state: ServerState, running: Call) -> None:
        CallControl(running, state).leave_message("Call me.", "a machine answered")

    heard_ms, _, asked = call(WordyEngine(step_secs), leave)
    assert heard_ms == pytest.approx(WORD_MS, rel=0.1)
    assert asked == ["hang up"]


def test_a_key_acts_at_once() -> None:
    engine = WordyEngine()
    engine.bot = {12: " Hello there."}
    _, ended_s, _ = call(engine, lambda _, running: running.request_end("the caller pressed #"))
    assert ended_s == pytest.approx(1.0, abs=0.1)
