"""The stage where the call meets its other speaker: an engine's session, hearing and speaking at once."""

from __future__ import annotations

import asyncio
from collections import deque

import numpy as np
from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    SpeechOutputAudioRawFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from moshi_phone.audio import pcm
from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ
from moshi_phone.engines.duplex import HANG_SECS, DuplexSession, DuplexStep, EngineFailed
from moshi_phone.runtime.errors import describe_error
from processors.frames import EngineMetricsFrame
from processors.words import WordFrames


class MoshiProcessor(FrameProcessor):
    """Caller's audio in (24 kHz), the session's speech (24 kHz, 80 ms a frame) and text out, at once.

    The caller's audio is the clock: each 80 ms of it goes to the session the moment it is complete, and
    what the session says is pushed the moment it comes: the words of both sides (``words.py``), an
    ``EngineMetricsFrame`` that says what the step took, and the speech. A session that raises, or that owes
    an answer for ``hang_secs``, is reported as a permanent error, which ends the call.

    Args:
        session: of any engine; whoever opened it closes it.
        hang_secs: how long the session may owe an answer.
    """

    def __init__(self, session: DuplexSession, *, hang_secs: float = HANG_SECS) -> None:
        super().__init__(enable_direct_mode=True)
        self.session = session
        self._hang_secs = hang_secs
        self._rest = np.zeros(0, np.float32)  # of a transport whose packets are no whole frames; Twilio's are
        self._words = WordFrames()
        self._fed_frames = 0
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
        if isinstance(frame, EndFrame):
            for words in self._words.finish():
                await self.push_frame(words)
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
            self._fed_frames += 1
            self.session.feed(block)
        self._rest = heard[whole:]
        # Not anew with every frame: that would put the alarm off for as long as the caller speaks.
        if whole and self._watchdog is None:
            self._expect_answer()

    async def _speak(self) -> None:
        try:
            async for step in self.session.outputs():
                self._answered()
                await self._push(step)
        except EngineFailed as error:
            await self.push_error(str(error), exception=error, force_treat_as_permanent=True)
        except Exception as error:  # a bug, ours or of an engine of the user's own
            logger.opt(exception=error).error("{} broke", self.session.answerer)
            said = f"{self.session.answerer} broke ({describe_error(error)})"
            await self.push_error(said, exception=error, force_treat_as_permanent=True)

    async def _push(self, step: DuplexStep) -> None:
        fed_at_s = self._fed_at_s.popleft() if self._fed_at_s else asyncio.get_running_loop().time()
        heard_s = self._fed_frames * FRAME_MS / 1000
        for words in self._words.of_step(step, heard_s, self.get_clock().get_time()):
            await self.push_frame(words)
        # Before the speech, so that the meter knows a frame's delay when it counts the frame.
        await self.push_frame(
            EngineMetricsFrame(
                (asyncio.get_running_loop().time() - fed_at_s) * 1000,
                step.timings_ms,
                self.session.backlog_frames,
                self.session.dropped_frames,
                self.session.skipped_frames,
            )
        )
        if step.pcm is None:
            return
        if step.pcm.dtype != np.float32 or step.pcm.shape != (FRAME_SAMPLES,):
            raise ValueError(
                f"expected float32 [{FRAME_SAMPLES}] in DuplexStep.pcm, got {step.pcm.dtype} "
                f"{list(step.pcm.shape)}"
            )
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
