"""Finds out when the caller has heard what was said: after the bot's pause, by the echo of a mark."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from pipecat.frames.frames import Frame, OutputAudioRawFrame

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.silence import SILENCE_RMS, is_silent
from processors.frames import MarkInputFrame, MulawOutputFrame, PlayoutMetricsFrame

PAUSE_MS = 400.0  # longer than the stops inside words and the breaks between them
PAUSE_SECS = 5.0  # who does not pause by then is not waited for
STILL_SECS = 1.5  # without the caller's audio, which is the clock, nothing more is said; a stall is shorter
ECHO_SECS = 1.0  # beyond what is still to be played and the way there and back

SendMark = Callable[[str], Awaitable[object]]


class PlaybackEnd:
    """Watches the bot's audio on its way out, and waits until the caller has heard it to its end.

    A word's text comes when the word begins; its audio follows for half a second and is then played from
    Twilio's buffer. Whoever ends or moves a call after given words must wait for that, and only the mark's
    echo says when it is over.

    An observer: it must see the frames that leave the pipeline's last stages, and the marks that come back.
    """

    def __init__(self) -> None:
        self._quiet_ms = 0.0  # of the bot's audio, since it was last heard
        self._trimmed_ms = 0.0  # silence that the governor took out: part of the pause all the same
        self._played_at_s = 0.0  # when the other side has played what was sent so far, by account
        self._round_trip_ms = 0.0  # by the quickest mark: how long an echo takes without any buffer
        self._has_audio = False  # a pipeline without taps shows none, and nothing can be waited for
        self._news = asyncio.Event()  # audio went by: the pause may be long enough now
        self._echoes: dict[str, asyncio.Event] = {}  # of marks that are waited for, by name
        self._numbers = itertools.count(1)  # makes the marks' names unique

    def observe(self, frame: Frame) -> None:
        """Look at a frame that passes."""
        if isinstance(frame, MarkInputFrame):
            if echo := self._echoes.get(frame.mark):
                echo.set()
        elif isinstance(frame, PlayoutMetricsFrame):
            self._pass_quiet(max(0.0, frame.trimmed_ms - self._trimmed_ms))
            self._trimmed_ms = frame.trimmed_ms
            self._played_at_s = max(self._played_at_s, _now_s() + frame.lead_ms / 1000)
            self._round_trip_ms = frame.round_trip_ms
        elif isinstance(frame, MulawOutputFrame):
            audio_ms = len(frame.mulaw) / PHONE_RATE_HZ * 1000
            self._pass_audio(g711.power(frame.mulaw) <= SILENCE_RMS**2, audio_ms)
        elif isinstance(frame, OutputAudioRawFrame):
            samples_a_second = frame.sample_rate * frame.num_channels
            audio_ms = len(frame.audio) / 2 / samples_a_second * 1000
            self._pass_audio(is_silent(pcm.to_float(frame.audio)), audio_ms)

    def close(self) -> None:
        """Wait for nothing more: the call is over."""
        for echo in self._echoes.values():
            echo.set()

    async def wait(self, send_mark: SendMark, pause_secs: float = PAUSE_SECS) -> bool:
        """Wait until the bot has paused and the caller has heard what it said before.

        Args:
            send_mark: sends a mark of this name behind all audio so far.
            pause_secs: how long the pause is waited for; 0 where it is not.

        Returns:
            Whether the echo came; False where the time was up first.
        """
        if not self._has_audio:
            return False
        try:
            async with asyncio.timeout(pause_secs):
                while self._quiet_ms < PAUSE_MS:
                    self._news.clear()
                    await asyncio.wait_for(self._news.wait(), STILL_SECS)
        except TimeoutError:
            pass  # it talks on, or nothing comes any more; what it has said so far is to be heard at least
        name = f"heard-{next(self._numbers)}"
        self._echoes[name] = echo = asyncio.Event()
        try:
            await send_mark(name)
            still_secs = max(0.0, self._played_at_s - _now_s())
            async with asyncio.timeout(still_secs + self._round_trip_ms / 1000 + ECHO_SECS):
                await echo.wait()
        except TimeoutError:
            return False
        finally:
            del self._echoes[name]
        return True

    def _pass_audio(self, is_quiet: bool, audio_ms: float) -> None:
        self._has_audio = True
        self._played_at_s = max(self._played_at_s, _now_s()) + audio_ms / 1000
        if is_quiet:
            self._pass_quiet(audio_ms)
        else:
            self._quiet_ms = 0.0
            self._news.set()

    def _pass_quiet(self, audio_ms: float) -> None:
        self._quiet_ms += audio_ms
        self._news.set()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
