"""A text model alongside the call: it reads both sides' words, uses tools, and has the bot say its answers.

The conversation never waits for it. It is in the call's pipeline like a tap, and runs its own pipeline.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    EndWorkerFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    StartFrame,
    TranscriptionFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import LLMService
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from pipecat.utils.text.base_text_aggregator import TextType
from pipecat.workers.runner import WorkerRunner

from moshi_phone.engines.duplex import DuplexSession, Unsupported
from processors.frames import MarkOutputFrame
from processors.playback_end import PlaybackEnd
from processors.transcription_frames import CALLER

NOTHING = "-"  # the model's answer for "say nothing"
ANSWER_SECS = 20.0
SAID_SECS = 15.0  # how long a hang-up waits for the last words
WAITING_TURNS = 100  # unread turns of both sides while the model is busy; beyond that, the oldest are dropped
FROM_CALL = "from_call"  # ``metadata`` key that marks the bot's words, as opposed to the model's answers

Turn = tuple[Literal["caller", "bot"], str]


class Delegate(FrameProcessor):
    """Sends both sides' words to a text model, and has the bot say its answers. Passes every frame at once.

    The model runs after each sentence of the caller. Its answer is said in the bot's own voice, unless it is
    empty or ``-``. Its tools are those of the context, as in any pipecat pipeline.

    Args:
        session: of the call; its ``say`` is used.
        llm: any of pipecat's LLM services.
        context: the model's instructions and tools. It grows during the call.
        answer_secs: time limit for an answer.
    """

    def __init__(
        self,
        session: DuplexSession,
        llm: LLMService[Any],
        context: LLMContext,
        *,
        answer_secs: float = ANSWER_SECS,
    ) -> None:
        super().__init__(enable_direct_mode=True)
        self.context = context
        self._session = session
        self._llm = llm
        self._answer_secs = answer_secs
        self._turns: deque[Turn] = deque(maxlen=WAITING_TURNS)  # turns of both sides, unread by the model
        self._news = asyncio.Event()  # set when a turn was added
        self._answered = asyncio.Event()  # set when the model has answered the caller's last turn
        self._bot_text = ""  # the bot's current turn so far
        self._playback = PlaybackEnd()  # finds out when the last words were heard
        self._backend: asyncio.Task[None] | None = None  # runs the model's own pipeline

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Collect the words of both sides; every frame passes."""
        await super().process_frame(frame, direction)
        self._playback.observe(frame)
        if isinstance(frame, StartFrame):
            self._backend = self.create_task(self._run())
        elif isinstance(frame, (EndFrame, CancelFrame)):
            await self._stop()
        elif isinstance(frame, TTSTextFrame):
            self._bot_text += frame.text
        elif isinstance(frame, LLMFullResponseEndFrame):
            self._take_bot()
        elif isinstance(frame, TranscriptionFrame) and frame.user_id == CALLER:
            self._take_bot()  # the bot said this before the caller had finished
            self._take("caller", frame.text)
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Stop the model, however the call ended."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._stop()

    async def hang_up(self) -> None:
        """End the call once all queued words have been heard; for use by a tool of the model."""
        try:
            await asyncio.wait_for(self._session.said(), SAID_SECS)
        except TimeoutError:
            logger.warning("Ending the call before its last words were said.")
        await self._playback.wait(lambda mark: self.push_frame(MarkOutputFrame(mark)))
        await self.push_frame(EndWorkerFrame(), FrameDirection.UPSTREAM)

    def _take_bot(self) -> None:
        text, self._bot_text = self._bot_text, ""
        self._take("bot", text)

    def _take(self, speaker: Literal["caller", "bot"], text: str) -> None:
        if text.strip():
            self._turns.append((speaker, text.strip()))
            self._news.set()  # wakes _feed

    # The model's own pipeline

    async def _run(self) -> None:
        strategies = LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
        user, assistant = LLMContextAggregatorPair(self.context, user_params=strategies)
        worker = PipelineWorker(
            Pipeline([user, self._llm, _Answers(self._say), assistant]),
            idle_timeout_secs=None,  # a caller who is silent for five minutes must not end it
            enable_turn_tracking=False,
            enable_rtvi=False,
        )

        async def on_pipeline_error(_: PipelineWorker, error: ErrorFrame) -> None:
            # Without its text, which may contain the caller's words.
            logger.warning("The delegate's model failed: {}", type(error.exception).__name__)

        worker.add_event_handler("on_pipeline_error", on_pipeline_error)
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        feeding = self.create_task(self._feed(worker))
        try:
            await runner.run()
        finally:
            await self.cancel_task(feeding)
            await worker.cancel()

    async def _feed(self, worker: PipelineWorker) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._turns:
                speaker, text = self._turns.popleft()
                self._answered.clear()
                await worker.queue_frames(_frames(speaker, text))
                if speaker == "caller":
                    await self._await_answer(worker)  # the bot's turns need no answer

    async def _await_answer(self, worker: PipelineWorker) -> None:
        try:
            await asyncio.wait_for(self._answered.wait(), self._answer_secs)
        except TimeoutError:
            logger.warning("The delegate's model gave no answer for {:g} s", self._answer_secs)
            # stops the late answer, so that the next turn gets its own
            await worker.queue_frame(InterruptionFrame())

    def _say(self, text: str) -> None:
        self._answered.set()
        if text.strip() in ("", NOTHING):
            return
        try:
            self._session.say(text)
        except (Unsupported, ValueError) as error:
            logger.warning("The delegate's answer was not said: {}", error)

    async def _stop(self) -> None:
        # swapped before the await: the pipeline's end and cleanup() both stop it
        backend, self._backend = self._backend, None
        if backend is not None:
            await self.cancel_task(backend)


class _Answers(FrameProcessor):
    """Removes the model's answers from the frames; other frames pass to the context.

    An answer enters the context when the bot says it, like all of the bot's words.
    """

    def __init__(self, on_answer: Callable[[str], None]) -> None:
        super().__init__()
        self._on_answer = on_answer
        self._text = ""  # the answer so far

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Collect an answer, or pass the frame."""
        await super().process_frame(frame, direction)
        if frame.metadata.get(FROM_CALL):
            await self.push_frame(frame, direction)
        elif isinstance(frame, LLMFullResponseStartFrame):
            self._text = ""
        elif isinstance(frame, LLMTextFrame):
            self._text += frame.text
        elif isinstance(frame, LLMFullResponseEndFrame):
            self._on_answer(self._text)
        else:
            await self.push_frame(frame, direction)


def _frames(speaker: Literal["caller", "bot"], text: str) -> list[Frame]:
    """Convert a turn into frames for pipecat's aggregators."""
    if speaker == "caller":
        said = TranscriptionFrame(text, CALLER, "", finalized=True)
        return [UserStartedSpeakingFrame(), said, UserStoppedSpeakingFrame()]
    spoken = TTSTextFrame(text, text_type=TextType.SENTENCE)
    frames: list[Frame] = [LLMFullResponseStartFrame(), spoken, LLMFullResponseEndFrame()]
    for frame in frames:
        frame.metadata[FROM_CALL] = True
    return frames
