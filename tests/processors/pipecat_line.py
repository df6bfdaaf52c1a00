"""A call with pipecat's own parts: an engine that talks in given seconds, and a caller who listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pipecat.processors.frame_processor import FrameProcessor

from moshi_phone.engines.duplex import CallerText, DuplexSession, DuplexStep
from processors.moshi import MoshiProcessor
from processors.mulaw import MulawDecoder, MulawEncoder
from processors.playout import PlayoutGovernor
from processors.resampler import Resampler
from processors.twilio import TwilioTransport
from tests.processors.simulated_line import tone

STEP_S = 0.08


TONE = tone(30, 24_000)


class Talker(DuplexSession):
    """Speaks a tone and words in given seconds, hears given words; answers each frame at once.

    Args:
        speaks: from which second to which.
        hears: what the caller says, by the second at which it is understood.
        listens: whether it says that it hears words.
    """

    def __init__(
        self,
        speaks: Sequence[tuple[float, float]] = ((1.0, 3.0),),
        hears: Mapping[float, str] | None = None,
        *,
        listens: bool = True,
    ) -> None:
        self._speaks = speaks
        self._hears = dict(hears or {})
        self._listens = listens
        self._steps: asyncio.Queue[int] = asyncio.Queue()
        self.fed: list[NDArray[np.float32]] = []
        self.told: list[str] = []
        self.temperature = 0.8

    def feed(self, pcm: NDArray[np.float32]) -> None:
        self.fed.append(pcm)
        self._steps.put_nowait(len(self.fed))

    async def outputs(self) -> AsyncIterator[DuplexStep]:
        while True:
            n = await self._steps.get()
            now_s = n * STEP_S
            speaks = any(began <= now_s < ended for began, ended in self._speaks)
            sound = TONE[(n * 1_920) % 480_000 :][:1_920] if speaks else np.zeros(1_920, np.float32)
            due = [at_s for at_s in self._hears if at_s <= now_s]
            heard = tuple(CallerText(self._hears.pop(at_s), at_s) for at_s in due)
            yield DuplexStep(sound, " la" if speaks and n % 4 == 0 else "", caller_text=heard)

    @property
    def backlog_frames(self) -> int:
        return self._steps.qsize()

    @property
    def dropped_frames(self) -> int:
        return 0

    @property
    def listens(self) -> bool:
        return self._listens

    def say(self, text: str) -> None:
        self.told.append(text)

    def set_temperature(self, temperature: float) -> None:
        self.temperature = temperature

    async def close(self) -> None:
        pass


def phone_line(
    transport: TwilioTransport,
    session: DuplexSession | FrameProcessor,
    *,
    before: Sequence[FrameProcessor] = (),
    at_8_khz: Sequence[FrameProcessor] = (),
    after_moshi: Sequence[FrameProcessor] = (),
    behind: Sequence[FrameProcessor] = (),
) -> list[FrameProcessor]:
    """Return ``phone_call``'s list, with more stages."""
    moshi = MoshiProcessor(session) if isinstance(session, DuplexSession) else session
    return [
        transport.input(),
        MulawDecoder(),
        *at_8_khz,
        Resampler(8_000, 24_000),
        *before,
        moshi,
        *after_moshi,
        Resampler(24_000, 8_000),
        PlayoutGovernor(),
        MulawEncoder(),
        transport.output(),
        *behind,
    ]


TWO = pytest.approx(2, abs=0.1)


def strength(heard: NDArray[np.float32], hz: float) -> float:
    """Return the amplitude of a frequency."""
    wave_ = np.exp(-2j * np.pi * hz * np.arange(heard.size) / 8_000)
    return float(2 * np.abs(np.dot(heard, wave_)) / heard.size)


HEARS = {0.4: " Good", 0.6: " day.", 5.0: " And", 5.2: " now?"}
