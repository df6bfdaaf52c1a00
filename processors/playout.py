"""Limits the delay in the peer's buffer: the next pause drains what a stall has added."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
from loguru import logger
from pipecat.frames.frames import Frame, InterruptionFrame, SpeechOutputAudioRawFrame, StartFrame
from pipecat.processors.frame_processor import FrameDirection

from moshi_phone.audio.playout_control import PlayoutControl
from moshi_phone.audio.silence_trimmer import DEFAULT_LEAD_MS
from processors.frames import MarkInputFrame, MarkOutputFrame, PlayoutMetricsFrame, StreamResumedFrame
from processors.stage import Stage

MAX_SURPLUS_S = 5.0  # of speech, over the time since the first; one engine makes none


class PlayoutGovernor(Stage):
    """Tracks the playout lead, trims pauses while it is too long, and verifies it by marks.

    It acts on continuous speech (``SpeechOutputAudioRawFrame``): 16-bit audio of any rate and number of
    channels, one frame for each of the caller's, of equal length. Other audio passes: a TTS is faster than
    real time, and the transport paces it. No later stage may change the audio's length. If the transport has
    no marks, the lead is estimated from the amounts sent. A ``PlayoutMetricsFrame`` precedes each frame.

    Args:
        target_ms: the longest lead that is not trimmed.
        now_s: clock, in seconds; by default, the event loop's.
        kwargs: of ``FrameProcessor``, such as ``name``.
    """

    reads = (StreamResumedFrame,)

    def __init__(
        self,
        target_ms: float = DEFAULT_LEAD_MS,
        now_s: Callable[[], float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.playout = PlayoutControl(target_ms)  # all accounting; this stage only translates frames
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
        self._since_s: float | None = None  # time of the first speech
        self._received_s = 0.0  # length of all speech
        self._told = False  # whether a second source of speech was logged

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Trim outgoing audio, and process returned marks."""
        await super().process_frame(frame, direction)
        if isinstance(frame, MarkInputFrame):
            self.playout.echoed(frame.mark, self._now_s())
        elif isinstance(frame, SpeechOutputAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            await self._send(frame)
            return
        elif isinstance(frame, InterruptionFrame):
            self.playout.cleared(self._now_s())
        elif isinstance(frame, StreamResumedFrame):
            self.playout.restart()
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            await self._mark(self._now_s())  # nothing is buffered yet: this mark measures the bare round trip

    async def _send(self, frame: SpeechOutputAudioRawFrame) -> None:
        now_s = self._now_s()
        samples = np.frombuffer(frame.audio, "<i2")
        self._expect_one_source(samples.size / (frame.sample_rate * frame.num_channels), now_s)
        left = self.playout.send(samples, now_s, rate_hz=frame.sample_rate, channels=frame.num_channels)
        await self.push_frame(self._measured())  # even without audio: then trimming shows
        if left.size == 0:
            return
        if left is not samples:
            frame = copy(frame)  # a frame of the user's own class may have more fields
            frame.audio = left.tobytes()
            frame.num_frames = left.size // frame.num_channels
        await self.push_frame(frame)
        await self._mark(now_s)

    def _expect_one_source(self, speech_s: float, now_s: float) -> None:
        self._since_s = now_s if self._since_s is None else self._since_s
        self._received_s += speech_s
        if self._received_s - (now_s - self._since_s) > MAX_SURPLUS_S and not self._told:
            self._told = True
            logger.warning(
                "Continuous speech arrives faster than it can be played, so most of it is dropped: only one "
                "MoshiProcessor may speak at a time; pipecat's ServiceSwitcher selects one of several"
            )

    def _measured(self) -> PlayoutMetricsFrame:
        playout, clock = self.playout, self.playout.clock
        return PlayoutMetricsFrame(
            playout.lead_ms,
            clock.jitter_ms,
            playout.trimmer.trimmed_ms,
            clock.underruns,
            clock.underrun_ms,
            clock.round_trip_ms,
        )

    async def _mark(self, now_s: float) -> None:
        if (mark := self.playout.mark_if_due(now_s)) is not None:
            await self.push_frame(MarkOutputFrame(mark))
