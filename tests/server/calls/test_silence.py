"""Calls in which one side is silent: whole calls in simulated time, and one of each over sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bot import run_call
from moshi_phone.audio import g711, pcm
from moshi_phone.conversation.live import Judge
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides, DuplexStep, Unsupported
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.app import create_app
from moshi_phone.testing.engine import FakeEngine, FakeSession
from tests.conversation.scripted import clip
from tests.fakes.twilio_api import FakeTwilioApi
from tests.server.talking_line import PERSON, Line, TalkingEngine, TalkingSession
from tests.support.inline_executor import InlineExecutor
from tests.support.logs import Logged
from tests.support.phone import SILENT_PACKET, start_message
from tests.support.simulated import SimulatedPhone, run_simulated

NOTICE = "Are you still there?"


class QuietSession(FakeSession):
    """Answers each frame with silence, and says given words as text only."""

    def __init__(self, engine: QuietEngine) -> None:
        super().__init__(engine)
        self._quiet = engine

    async def outputs(self) -> AsyncIterator[DuplexStep]:
        async for step in super().outputs():
            yield DuplexStep(np.zeros_like(step.pcm) if step.pcm is not None else None)

    def say(self, text: str) -> None:
        if not self._quiet.can_say:
            raise Unsupported("It cannot.")
        self._quiet.spoken.append((asyncio.get_running_loop().time(), text))


class QuietEngine(FakeEngine):
    def __init__(self, *, can_say: bool = True) -> None:
        super().__init__()
        self.can_say = can_say
        self.spoken: list[tuple[float, str]] = []

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> QuietSession:
        super().open_session(request)
        self.sessions[-1] = session = QuietSession(self)
        return session


def speech(secs: float, *at_s: float) -> NDArray[np.float32]:
    samples, said = np.zeros(round(secs * 8_000), np.float32), clip("slt", "open-1")
    for begin_s in at_s:
        begin = round(begin_s * 8_000)
        samples[begin : begin + len(said)] = said
    return samples


def simulate(
    engine: FakeEngine, said: NDArray[np.float32], key_at_s: float | None = None, **options: object
) -> tuple[ServerState, str, float]:
    """Return the state after a call, why it ended, and after how long."""

    async def main() -> tuple[ServerState, str, float]:
        state = ServerState(
            engine,
            Settings(calls=CallOptions(**options)),  # type: ignore[arg-type]
            judge=Judge(InlineExecutor()),
        )
        await engine.start(lambda _: None)
        phone = SimulatedPhone(create_app(state, run_call), start_message())
        talking = asyncio.ensure_future(phone.talk(said))
        if key_at_s is not None:
            asyncio.get_running_loop().call_later(key_at_s, phone.press, "1")
        while phone.closed is None and not talking.done():  # noqa: ASYNC110 - of simulated time
            await asyncio.sleep(0.1)
        ended_s = asyncio.get_running_loop().time()
        await talking
        assert phone.closed is not None
        return state, str(phone.closed["reason"]), ended_s

    return run_simulated(main())


@pytest.mark.slow
def test_a_caller_who_says_nothing_is_asked_and_then_hung_up() -> None:
    engine = QuietEngine()
    _, reason, ended_s = simulate(engine, speech(200))
    assert reason == "the caller said nothing for 120 s"
    assert ended_s == pytest.approx(120, abs=1)
    assert [text for _, text in engine.spoken] == [NOTICE]
    assert engine.spoken[0][0] == pytest.approx(80, abs=1)


@pytest.mark.slow
def test_a_word_restarts_the_timer() -> None:
    engine = QuietEngine()
    _, reason, ended_s = simulate(
        engine, speech(130, 35.0, 75.0), silence_secs=45, silence_notice="Hello?", mute_secs=0
    )
    assert reason == "the caller said nothing for 45 s"
    assert ended_s == pytest.approx(75 + 2.3 + 45, abs=1)
    # After 30 s of silence each time: before the first word, between the words, and in the end.
    assert [text for _, text in engine.spoken] == ["Hello?"] * 3


def test_a_key_counts_as_a_word() -> None:
    _, reason, ended_s = simulate(QuietEngine(), speech(30), key_at_s=6, silence_secs=10)
    assert reason == "the caller said nothing for 10 s"
    assert ended_s == pytest.approx(16, abs=1)


@pytest.mark.parametrize(
    "options", [{"silence_notice": ""}, {}], ids=["no notice", "an engine that cannot say"]
)
def test_without_a_notice_the_call_ends_too(options: dict[str, Any]) -> None:
    _, reason, _ = simulate(QuietEngine(can_say=False), speech(40), silence_secs=20, **options)
    assert reason == "the caller said nothing for 20 s"


@pytest.mark.slow
def test_zero_disables_the_limit() -> None:
    _, reason, ended_s = simulate(QuietEngine(), speech(150), silence_secs=0, mute_secs=0)
    assert reason == "the caller hung up"
    assert ended_s > 150


@pytest.mark.slow
def test_a_missing_answer_is_counted_and_logged_once(logged: Logged) -> None:
    state, reason, _ = simulate(QuietEngine(), speech(50, 2.0, 20.0), mute_secs=30)
    assert reason == "the caller hung up"
    assert state.calls.past.conversation.mutes == 1
    assert logged.text.count("Mute: the bot did not answer for 30 s") == 1


def test_a_bot_that_answers_is_not_mute() -> None:
    state, _, _ = simulate(FakeEngine(), speech(50, 2.0), mute_secs=30)  # a mirror
    assert state.calls.past.conversation.mutes == 0


def test_without_speech_no_answer_is_missing() -> None:
    state, _, _ = simulate(QuietEngine(), speech(50), mute_secs=30)
    assert state.calls.past.conversation.mutes == 0


def test_a_mute_bot_sends_the_call_to_the_fallback() -> None:
    state, reason, ended_s = simulate(QuietEngine(), speech(90, 2.0), mute_secs=30, fallback_to=PERSON)
    assert reason == "the bot did not answer for 30 s"
    assert ended_s == pytest.approx(2 + 2.3 + 30, abs=1)
    assert state.calls.past.conversation.mutes == 1


async def test_over_sockets_a_silent_caller_is_asked_and_hung_up(twilio: FakeTwilioApi) -> None:
    engine = TalkingEngine()
    made = Line(twilio, engine, silence_secs=3)
    async with made.serving() as line, line.call() as phone:
        await phone.say(SILENT_PACKET, times=200)  # 4 s
        assert await phone.closed() == (1000, "the caller said nothing for 3 s")
        await line.state.calls.wait_until_idle()
    assert engine.spoken == [NOTICE]


async def test_over_sockets_a_mute_bot_sends_the_caller_to_the_fallback(twilio: FakeTwilioApi) -> None:
    class Mute(TalkingSession):
        async def outputs(self) -> AsyncIterator[DuplexStep]:
            async for step in super().outputs():
                yield DuplexStep(np.zeros_like(step.pcm) if step.pcm is not None else None)

    class MuteEngine(TalkingEngine):
        def open_session(self, request: CallOverrides = NO_OVERRIDES) -> Mute:
            super().open_session(request)
            self.sessions[-1] = session = Mute(self)
            return session

    made = Line(twilio, MuteEngine(), mute_secs=3, fallback_to=PERSON)
    async with made.serving() as line, line.call() as phone:
        mulaw = g711.encode(pcm.to_bytes(speech(9, 0.5)))
        for begin in range(0, len(mulaw), 160):
            await phone.say(mulaw[begin : begin + 160])
        assert (await phone.closed())[1] == "the bot did not answer for 3 s"
        await line.state.calls.wait_until_idle()
    assert PERSON in line.updates()[0]["Twiml"][0]
