"""The worker of a call: pipecat's, with an end that no stage can block."""

from __future__ import annotations

import asyncio
from typing import Any

from loguru import logger
from pipecat.frames.frames import CancelFrame, EndFrame, Frame, StopFrame
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_transport import BaseTransport
from pipecat.workers.base_worker import WorkerParams

from processors.twilio import TwilioTransport

END_SECS = 30.0  # for an EndFrame to pass all stages, after the last clip
# Options of PipelineWorker that add observers.
_OBSERVING = ("observers", "enable_turn_tracking", "enable_tracing", "enable_rtvi", "idle_timeout_secs")


class CallWorker(PipelineWorker):
    """The worker of a call. It reports whether anything observes the pipeline's frames, and it always ends.

    After an ``EndFrame``, pipecat's worker pushes no other frame until that one has passed all stages. So a
    stage that discards it, or a long clip before it, would also keep a call that is cancelled: here, a
    ``CancelFrame`` passes at once. If an ``EndFrame`` has not passed ``END_SECS`` after the last clip, the
    worker cancels itself; only on the phone's transport, which reports how long its clips play.

    Args:
        pipeline: of the call.
        transport: of the call.
        options: of ``PipelineWorker``.

    Attributes:
        is_observed: whether there is an observer, of the user or of pipecat. Without one, the call's stages
            pass audio past pipecat's observers (``processors/stage.py``).
    """

    def __init__(self, pipeline: Pipeline, transport: BaseTransport | None = None, **options: Any) -> None:
        self.is_observed = any(options.get(option) for option in _OBSERVING)
        super().__init__(pipeline, **options)
        self._transport = transport
        self._has_started = False  # whether all stages have received the StartFrame
        self._ending = asyncio.Event()  # set when an EndFrame or StopFrame was queued
        self.add_event_handler("on_pipeline_started", self._on_started)

    def add_observer(self, observer: BaseObserver) -> None:
        """Add an observer; from then on it sees every frame."""
        self.is_observed = True
        super().add_observer(observer)

    async def queue_frame(self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM) -> None:
        """Queue a frame for the pipeline; a ``CancelFrame`` passes a pending ``EndFrame``."""
        await super().queue_frame(frame, direction)
        if direction is not FrameDirection.DOWNSTREAM:
            return
        if isinstance(frame, (EndFrame, StopFrame)):
            self._ending.set()
        elif isinstance(frame, CancelFrame) and self._ending.is_set() and self._has_started:
            # In a task: the caller may be a stage that is in the middle of the EndFrame.
            self.create_task(self.pipeline.queue_frame(frame))

    async def run(self, params: WorkerParams) -> None:
        """Run the pipeline to its end."""
        watch = None
        if isinstance(self._transport, TwilioTransport):
            watch = asyncio.create_task(self._expect_end(self._transport))
        try:
            await super().run(params)
        finally:
            if watch is not None:
                watch.cancel()

    async def _on_started(self, _: PipelineWorker, __: Frame) -> None:
        self._has_started = True

    async def _expect_end(self, transport: TwilioTransport) -> None:
        await self._ending.wait()
        now_s = asyncio.get_running_loop().time
        queued_s = now_s()
        while (left_s := max(queued_s, transport.clip_until_s) + END_SECS - now_s()) > 0:  # noqa: ASYNC110 - moved on by every clip
            await asyncio.sleep(left_s)
        logger.warning(
            "An EndFrame did not reach the end of the pipeline within {:g} s, so the call is cancelled: a "
            "stage must push every frame that it does not handle, EndFrame included",
            END_SECS,
        )
        await self.cancel(reason="a stage did not pass the EndFrame on")
