"""A session whose engine is still loading: the caller hears a ringing tone until the engine answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from loguru import logger

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from moshi_phone.audio.ringback import ringback
from moshi_phone.engines.duplex import (
    CallerText,
    DuplexSession,
    DuplexStep,
    EngineError,
    EngineFailed,
    check_frame,
)
from moshi_phone.engines.step_queue import StepQueue


class _Loaded(EngineFailed):
    """Ends the tone."""


class RingingSession(DuplexSession):
    """Answers each frame with 80 ms of a ringing tone, and from some frame on with the engine's session.

    Args:
        opening: returns the session once the engine is loaded; its exceptions end this session.
        listens: whether that session will transcribe the caller.
    """

    def __init__(self, opening: Callable[[], Awaitable[DuplexSession]], *, listens: bool = False) -> None:
        self._listens = listens
        self._session: DuplexSession | None = None  # the engine's own, once it is loaded
        self._steps = StepQueue()  # of the tone, then of the engine's session
        self._rung_samples = 0  # position in the ringback tone, whose cadence spans frames
        self._closed = False  # an engine's session that comes later is closed at once
        self._opening = asyncio.ensure_future(self._open(opening))

    @property
    def display_name(self) -> str:
        """Name of the answering side."""
        return self._session.display_name if self._session else super().display_name

    @property
    def listens(self) -> bool:
        """Whether the steps carry the caller's words, once the engine answers."""
        return self._listens

    def feed(self, pcm: Pcm) -> None:
        """Pass the frame to the engine's session, or answer it with the tone."""
        if self._session is not None:
            self._session.feed(pcm)
            return
        check_frame(pcm)
        self._steps.push(DuplexStep(ringback(self._rung_samples, FRAME_SAMPLES, SAMPLE_RATE_HZ)))
        self._rung_samples += FRAME_SAMPLES

    async def outputs(self) -> AsyncIterator[DuplexStep]:
        """Yield the tone's steps, then the engine's.

        Raises:
            EngineFailed: when the engine could not be loaded, or the session failed.
        """
        try:
            async for step in self._steps.read():
                yield step
        except _Loaded:
            pass
        if self._session is not None and not self._closed:
            async for step in self._session.outputs():
                yield step

    @property
    def backlog_frames(self) -> int:
        """Number of frames without an answer yet."""
        return len(self._steps) + (self._session.backlog_frames if self._session else 0)

    @property
    def dropped_frames(self) -> int:
        """Number of frames dropped by the engine's session."""
        return self._session.dropped_frames if self._session else 0

    @property
    def untranscribed_frames(self) -> int:
        """Number of frames that the engine's session did not transcribe."""
        return self._session.untranscribed_frames if self._session else 0

    @property
    def codec_delay_ms(self) -> float:
        """Constant delay of the codecs on the way to the engine's session and back."""
        return self._session.codec_delay_ms if self._session else 0.0

    def say(self, text: str) -> None:
        """Queue words at the engine's session.

        Raises:
            Unsupported: when the engine cannot, or is not loaded.
            ValueError: when there is nothing in the text to say, or too much.
        """
        if self._session is None:
            super().say(text)
        else:
            self._session.say(text)

    def stop_saying(self) -> None:
        """Drop the queued words at the engine's session."""
        if self._session is not None:
            self._session.stop_saying()

    def set_temperature(self, temperature: float) -> None:
        """Set the temperature of the engine's session.

        Raises:
            Unsupported: when the engine cannot, or is not loaded.
        """
        if self._session is None:
            super().set_temperature(temperature)
        else:
            self._session.set_temperature(temperature)

    async def said(self) -> None:
        """Wait until the queued words have been spoken."""
        if self._session is not None:
            await self._session.said()

    async def finish_listening(self) -> tuple[CallerText, ...]:
        """Return the caller's last words from the engine's session."""
        return await self._session.finish_listening() if self._session else ()

    async def close(self) -> None:
        """Close the engine's session, or stop waiting for it."""
        self._closed = True
        self._opening.cancel()
        self._steps.close()
        if self._session is not None:
            await self._session.close()

    async def _open(self, opening: Callable[[], Awaitable[DuplexSession]]) -> None:
        try:
            self._session = await opening()
        except EngineError as error:
            self._steps.fail(EngineFailed(str(error)))
        except Exception as error:  # a bug, of ours or of the user's engine
            logger.opt(exception=error).error("The engine opened no session")
            self._steps.fail(EngineFailed("The engine opened no session; the server's log says why."))
        else:
            self._steps.fail(_Loaded())  # after the queued steps, so that every frame fed has its answer
