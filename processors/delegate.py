"""A backend that thinks: a text model beside the call. It hears both sides, can act, and has words said.

The talk never waits for it. It stands in the call's list like a tap, and runs a pipeline of its own.
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

NOTHING = "-"  # what the model answers where it has nothing to say
ANSWER_SECS = 20.0
SAID_SECS = 15.0  # how long hanging up waits for the last words
WAITING_TURNS = 100  # of both sides, while the model is busy; then the oldest are dropped
FROM_CALL = "from_call"  # the key in ``metadata`` that tells the bot's words from the model's answers

Turn = tuple[Literal["caller", "bot"], str]


class Delegate(FrameProcessor):
    """Shows both sides' words to a text model, and has its answers said. Passes every frame on at once.

    When the caller has finished a sentence, the model is asked; what it answers is said in the bot's own
    voice, unless it is empty or ``-``. Its tools are those of the context, as in any pipeline of pipecat's.

    Args:
        session: of the call; ``say`` is used.
        llm: any of pipecat's.
        context: what the model knows at the beginning: its instructions, its tools. It grows with the call.
        answer_secs: after so long an answer is given up.
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
        self._turns: deque[Turn] = deque(maxlen=WAITING_TURNS)  # of both sides, not yet shown to the model
        self._news = asyncio.Event()  # a turn was added
        self._answered = asyncio.Event()  # the model has answered the last turn of the caller
        self._bot_text = ""  # of the turn that is being spoken
        self._playback = PlaybackEnd()  # for hanging up behind the last words
        self._backend: asyncio.Task[None] | None = None  # runs the model's own pipeline

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take note of the words, and pass everything on."""
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
            self._take_bot()  # what the bot has said so far was said before the caller had finished
            self._take("caller", frame.text)
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Stop the model, however the call ended."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._stop()

    async def hang_up(self) -> None:
        """End the call when all that waits to be said has been heard; for a tool of the model's."""
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
            self._news.set()

    # The model's own pipeline.

    async def _run(self) -> None:
        strategies = LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
        user, assistant = LLMContextAggregatorPair(self.context, user_params=strategies)
        worker = PipelineWorker(
            Pipeline([user, self._llm, _Answers(self._say), assistant]),
            idle_timeout_secs=None,  # a caller who says nothing for five minutes is no reason to end it
            enable_turn_tracking=False,
            enable_rtvi=False,
        )

        async def on_pipeline_error(_: PipelineWorker, error: ErrorFrame) -> None:
            # Without its text, in which there may be what the caller said.
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
                    await self._await_answer(worker)

    async def _await_answer(self, worker: PipelineWorker) -> None:
        try:
            await asyncio.wait_for(self._answered.wait(), self._answer_secs)
        except TimeoutError:
            logger.warning("The delegate's model gave no answer for {:g} s", self._answer_secs)
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
        backend, self._backend = self._backend, None
        if backend is not None:
            await self.cancel_task(backend)


class _Answers(FrameProcessor):
    """Takes the model's answers out, and lets everything else through to the context.

    They get into the context when the bot says them, as all of the bot's words do.
    """

    def __init__(self, on_answer: Callable[[str], None]) -> None:
        super().__init__()
        self._on_answer = on_answer
        self._text = ""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Gather an answer, or pass the frame on."""
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
    """Give a turn as pipecat's aggregators take it."""
    if speaker == "caller":
        said = TranscriptionFrame(text, CALLER, "", finalized=True)
        return [UserStartedSpeakingFrame(), said, UserStoppedSpeakingFrame()]
    spoken = TTSTextFrame(text, text_type=TextType.SENTENCE)
    frames: list[Frame] = [LLMFullResponseStartFrame(), spoken, LLMFullResponseEndFrame()]
    for frame in frames:
        frame.metadata[FROM_CALL] = True
    return frames
