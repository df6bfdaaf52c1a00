"""Determines when the caller has heard the bot's words: after the bot's pause, by a returned mark."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from pipecat.frames.frames import Frame, OutputAudioRawFrame

from moshi_phone.audio import pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.silence import SILENCE_RMS, is_silent
from processors.frames import MarkInputFrame, MulawOutputFrame, PlayoutMetricsFrame

PAUSE_MS = 400.0  # longer than plosives in words and gaps between words
PAUSE_SECS = 5.0  # the longest wait for a pause
STILL_SECS = 1.5  # without the caller's audio, the clock, the bot says nothing more; stalls are shorter
ECHO_SECS = 1.0  # in addition to the audio still to be played and the round trip

SendMark = Callable[[str], Awaitable[object]]


class PlaybackEnd:
    """Observes the bot's outgoing audio, and waits until the caller has heard its end.

    A word's text comes when the word begins. Its audio follows for half a second, and is then played from
    Twilio's buffer. To end or transfer a call after given words, one must wait for that, and only the
    returned mark shows when it is over.

    A frame observer: it must see the frames of the pipeline's last stages, and the returned marks.
    """

    def __init__(self) -> None:
        self._quiet_ms = 0.0  # the bot's silence so far
        self._trimmed_ms = 0.0  # silence trimmed by the governor, which belongs to the pause
        self._played_at_s = 0.0  # estimated end of playback of the audio sent so far
        self._round_trip_ms = 0.0  # of the fastest mark: without buffered audio
        self._has_audio = False  # a pipeline without taps shows none; then waiting is impossible
        self._news = asyncio.Event()  # set when audio passes: the pause may now be long enough
        self._echoes: dict[str, asyncio.Event] = {}  # awaited marks, by name
        self._numbers = itertools.count(1)  # for unique names

    def observe(self, frame: Frame) -> None:
        """Process a passing frame."""
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
            self._pass_audio(frame.power <= SILENCE_RMS**2, audio_ms)
        elif isinstance(frame, OutputAudioRawFrame):
            samples_a_second = frame.sample_rate * frame.num_channels
            audio_ms = len(frame.audio) / 2 / samples_a_second * 1000
            self._pass_audio(is_silent(pcm.to_float(frame.audio)), audio_ms)

    def close(self) -> None:
        """Release all waiters: the call has ended."""
        for echo in self._echoes.values():
            echo.set()

    async def wait(self, send_mark: SendMark, pause_secs: float = PAUSE_SECS) -> bool:
        """Wait until the bot has paused and the caller has heard its words before the pause.

        Args:
            send_mark: sends a mark with this name behind all audio so far.
            pause_secs: the longest wait for the pause; 0 for none.

        Returns:
            Whether the mark returned; False on a timeout.
        """
        if not self._has_audio:
            return False
        try:
            async with asyncio.timeout(pause_secs):
                while self._quiet_ms < PAUSE_MS:
                    self._news.clear()
                    await asyncio.wait_for(self._news.wait(), STILL_SECS)
        except TimeoutError:
            pass  # it talks on, or the audio has stopped; wait at least for the words so far
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
