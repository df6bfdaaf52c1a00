"""The stage where the call meets its other speaker: an engine's session, hearing and speaking at once."""

from __future__ import annotations

import asyncio
from collections import deque

import numpy as np
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    SpeechOutputAudioRawFrame,
    StartFrame,
    TextFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from audio import pcm
from audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ
from engines.duplex import DuplexSession, DuplexStep, EngineFailed
from processors.frames import EngineMetricsFrame

HANG_SECS = 5.0


class MoshiProcessor(FrameProcessor):
    """Caller's audio in (24 kHz), the session's speech (24 kHz, 80 ms a frame) and text out, at once.

    The caller's audio is the clock: each 80 ms of it goes to the session the moment it is complete, and
    what the session says is pushed the moment it comes, behind an ``EngineMetricsFrame`` that says what it
    took. A session that raises, or that owes an answer for ``hang_secs``, is reported as a permanent error,
    which ends the call.

    Args:
        session: of any engine; whoever opened it closes it.
        hang_secs: how long the session may owe an answer.
    """

    def __init__(self, session: DuplexSession, *, hang_secs: float = HANG_SECS) -> None:
        super().__init__(enable_direct_mode=True)
        self.session = session
        self._hang_secs = hang_secs
        self._rest = np.zeros(0, np.float32)
        self._fed_at_s: deque[float] = deque()
        self._speaker: asyncio.Task[None] | None = None
        self._watchdog: asyncio.TimerHandle | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Feed the caller's audio to the session; everything else passes."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            self._hear(frame)
            return
        if isinstance(frame, StartFrame):
            self._speaker = self.create_task(self._speak())
        elif isinstance(frame, (EndFrame, CancelFrame)):
            await self._fall_silent()
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Stop listening to the session, however the pipeline ended."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._fall_silent()

    def _hear(self, frame: InputAudioRawFrame) -> None:
        if frame.sample_rate != SAMPLE_RATE_HZ:
            raise ValueError(f"expected {SAMPLE_RATE_HZ} Hz, got {frame.sample_rate} Hz")
        heard = pcm.to_float(frame.audio)
        if self._rest.size:
            heard = np.concatenate((self._rest, heard))
        whole = heard.size // FRAME_SAMPLES * FRAME_SAMPLES
        for block in heard[:whole].reshape(-1, FRAME_SAMPLES):
            self._fed_at_s.append(asyncio.get_running_loop().time())
            self.session.feed(block)
        self._rest = heard[whole:]
        if whole and self._watchdog is None:
            self._expect_answer()

    async def _speak(self) -> None:
        try:
            async for step in self.session.outputs():
                self._answered()
                await self._push(step)
        except EngineFailed as error:
            await self.push_error(str(error), exception=error, force_treat_as_permanent=True)

    async def _push(self, step: DuplexStep) -> None:
        fed_at_s = self._fed_at_s.popleft() if self._fed_at_s else asyncio.get_running_loop().time()
        if step.text:
            text = TextFrame(step.text)
            text.includes_inter_frame_spaces = True
            await self.push_frame(text)
        await self.push_frame(
            EngineMetricsFrame(
                (asyncio.get_running_loop().time() - fed_at_s) * 1000,
                step.timings_ms,
                self.session.backlog_frames,
                self.session.dropped_frames,
            )
        )
        if step.pcm is None:
            return
        speech = SpeechOutputAudioRawFrame(pcm.to_bytes(step.pcm), SAMPLE_RATE_HZ, num_channels=1)
        await self.push_frame(speech)

    def _answered(self) -> None:
        # Frames that the session dropped will never be answered; their times go first.
        while len(self._fed_at_s) > self.session.backlog_frames + 1:
            self._fed_at_s.popleft()
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if self.session.backlog_frames:
            self._expect_answer()

    def _expect_answer(self) -> None:
        self._watchdog = asyncio.get_running_loop().call_later(self._hang_secs, self._give_up)

    def _give_up(self) -> None:
        self._watchdog = None
        error = EngineFailed(f"{self.session.answerer} gave no answer for {self._hang_secs:g} s")
        self.create_task(self.push_error(str(error), exception=error, force_treat_as_permanent=True))

    async def _fall_silent(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if self._speaker is not None:
            speaker, self._speaker = self._speaker, None
            await self.cancel_task(speaker)
