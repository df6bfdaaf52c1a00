"""A text model beside the call: it hears both sides, has words said and calls tools, without delaying the
call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from pipecat.frames.frames import EndFrame, SpeechOutputAudioRawFrame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.workers.runner import WorkerRunner

from moshi_phone.engines.duplex import CallerText, DuplexStep, Unsupported
from moshi_phone.testing.engine import FakeEngine, FakeSession
from processors.delegate import WAITING_TURNS, Delegate
from processors.frames import MarkInputFrame, MarkOutputFrame
from processors.playback_end import ECHO_SECS
from processors.transcription_frames import PAUSE_STEPS, WordFrames
from tests.fakes.openai_api import FAIL, HANG, FakeOpenAi, ToolCall, fake_openai
from tests.processors.passing import Passing
from tests.support.logs import Logged

WAIT_S = 20.0
QUIET = [DuplexStep(None)] * PAUSE_STEPS


class SayingSession(FakeSession):
    """Records the words that it must say."""

    def __init__(self) -> None:
        engine = FakeEngine()
        super().__init__(engine)
        engine.sessions.append(self)
        self.to_say: asyncio.Queue[str] = asyncio.Queue()
        self.can_say = True

    def say(self, text: str) -> None:
        if not self.can_say:
            raise Unsupported("The fake engine cannot say.")
        self.to_say.put_nowait(text)


class Call:
    """A pipeline of a delegate alone, and scripted speakers."""

    def __init__(
        self, api: FakeOpenAi, context: LLMContext | None = None, answer_secs: float = WAIT_S
    ) -> None:
        self.session = SayingSession()
        llm = OpenAILLMService(
            base_url=api.url, api_key="none", settings=OpenAILLMService.Settings(model="tiny")
        )
        self.delegate = Delegate(self.session, llm, context or LLMContext(), answer_secs=answer_secs)
        self.after = Passing()
        self.words = WordFrames()
        self.worker = PipelineWorker(
            Pipeline([self.delegate, self.after]),
            idle_timeout_secs=None,
            enable_rtvi=False,
            enable_turn_tracking=False,
        )
        self.ended = asyncio.Event()

    async def talk(self, *steps: DuplexStep) -> None:
        for step in [*steps, *QUIET]:
            await self.worker.queue_frames([*self.words.of_step(step, heard_s=1.0, now_ns=0)])

    async def says(self) -> str:
        return await asyncio.wait_for(self.session.to_say.get(), WAIT_S)


@asynccontextmanager
async def calling(call: Call) -> AsyncIterator[Call]:
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(call.worker)
    running = asyncio.create_task(runner.run())
    running.add_done_callback(lambda _: call.ended.set())
    try:
        yield call
    finally:
        await call.worker.cancel()
        await asyncio.wait_for(running, WAIT_S)


def caller(text: str) -> DuplexStep:
    return DuplexStep(None, caller_text=(CallerText(f" {text}", 0.5),))


def bot(text: str) -> DuplexStep:
    return DuplexStep(None, f" {text}")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


async def test_hears_both_sides_and_has_its_answers_said() -> None:
    with fake_openai("It is sunny.", "-", "Goodbye then.") as api:
        async with calling(Call(api)) as call:
            await call.talk(bot("Hello there."))
            await call.talk(caller("What's the weather?"))
            assert (await call.says()).strip() == "It is sunny."
            await call.talk(bot("It is sunny."))  # as Moshi then says it
            await call.talk(caller("Thanks."))
            await call.talk(caller("Bye."))
            assert (await call.says()).strip() == "Goodbye then."
            assert call.session.to_say.empty(), "a hyphen is not said"
        assert api.messages(0) == [("assistant", "Hello there."), ("user", "What's the weather?")]
        assert api.messages(2)[2:] == [("assistant", "It is sunny."), ("user", "Thanks."), ("user", "Bye.")]


async def test_calls_tools_and_hangs_up_after_the_last_words() -> None:
    called: list[str] = []
    with fake_openai(ToolCall("open_hours", {"day": "Sunday"}), "Ten to four.", ToolCall("hang_up")) as api:

        async def open_hours(params: FunctionCallParams, day: str) -> None:
            """Return the shop's opening hours.

            Args:
                params: of the call.
                day: of the week.
            """
            called.append(day)
            await params.result_callback({"open": "10-16"})

        async def hang_up(params: FunctionCallParams) -> None:
            """End the call."""
            await params.result_callback({"ended": True})
            await call.delegate.hang_up()

        call = Call(api, LLMContext(tools=[open_hours, hang_up]))
        async with calling(call):
            await call.talk(caller("When are you open on Sunday?"))
            assert (await call.says()).strip() == "Ten to four."
            assert called == ["Sunday"]
            assert [tool["function"]["name"] for tool in api.requests[0]["tools"]] == [
                "open_hours",
                "hang_up",
            ]
            assert "10-16" in str(api.requests[1]["messages"])
            await call.talk(caller("Goodbye."))
            await asyncio.wait_for(call.ended.wait(), WAIT_S)
            assert any(isinstance(frame, EndFrame) for frame in call.after.frames)


@pytest.mark.parametrize("is_echoed", [True, False])
async def test_hanging_up_waits_until_the_last_words_have_been_heard(*, is_echoed: bool) -> None:
    """Twilio acknowledges played audio by a mark; without one, the wait ends after a second."""
    with fake_openai() as api:
        async with calling(Call(api)) as call:
            loud = SpeechOutputAudioRawFrame(b"\x00\x40" * 640, 8000, 1)
            quiet = [SpeechOutputAudioRawFrame(bytes(1280), 8000, 1) for _ in range(5)]
            await call.worker.queue_frames([loud])
            await until(lambda: call.after.of(SpeechOutputAudioRawFrame))
            hanging_up = asyncio.ensure_future(call.delegate.hang_up())
            await asyncio.sleep(0.05)
            assert not call.after.of(MarkOutputFrame), "the bot still speaks"
            await call.worker.queue_frames(quiet)
            await until(lambda: call.after.of(MarkOutputFrame))
            assert not hanging_up.done()
            began_s = asyncio.get_running_loop().time()
            if is_echoed:
                (mark,) = call.after.of(MarkOutputFrame)
                await call.worker.queue_frames([MarkInputFrame(mark.mark)])
            await asyncio.wait_for(call.ended.wait(), WAIT_S)
            assert (asyncio.get_running_loop().time() - began_s >= ECHO_SECS) is not is_echoed
            assert hanging_up.done()


@pytest.mark.slow
async def test_the_call_continues_while_the_model_hangs_and_afterwards(logged: Logged) -> None:
    with fake_openai(HANG, "Here I am.") as api:
        async with calling(Call(api, answer_secs=2.0)) as call:
            await call.talk(caller("Are you there?"))
            await until(lambda: api.requests)
            speech = [SpeechOutputAudioRawFrame(bytes(3840), 24_000, 1) for _ in range(50)]
            await call.worker.queue_frames([*speech])
            await until(
                lambda: [f for f in call.after.frames if isinstance(f, SpeechOutputAudioRawFrame)][49:]
            )
            await call.talk(caller("Hello?"))
            assert (await call.says()).strip() == "Here I am."
            assert "gave no answer for 2 s" in logged.text
            assert "Are you there" not in "".join(line for line in logged.lines if "DEBUG" not in line)


async def test_the_queue_of_a_busy_model_is_bounded() -> None:
    with fake_openai(HANG) as api:
        async with calling(Call(api)) as call:
            await call.talk(caller("Are you there?"))
            await until(lambda: api.requests)
            for number in range(WAITING_TURNS + 20):
                await call.talk(caller(f"word {number}"))
            await until(lambda: "word 119" in [text for _, text in call.delegate._turns])
            assert len(call.delegate._turns) == WAITING_TURNS


@pytest.mark.slow
async def test_a_failing_model_or_an_engine_without_words_does_not_affect_the_call(logged: Logged) -> None:
    with fake_openai(FAIL, FAIL, FAIL, "Never said.", "Said.") as api:
        async with calling(Call(api)) as call:
            await call.talk(caller("One."))
            await until(lambda: "The delegate's model failed" in logged.text)
            call.session.can_say = False
            await call.talk(caller("Two."))
            await until(lambda: "The fake engine cannot say." in logged.text)
            call.session.can_say = True
            await call.talk(caller("Three."))
            assert (await call.says()).strip() == "Said."
            assert any(isinstance(frame, StartFrame) for frame in call.after.frames)
