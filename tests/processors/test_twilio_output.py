"""Audio that is not from Moshi: the caller hears all of it, nothing else, and not too early."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import (
    BotSpeakingFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    SpeechOutputAudioRawFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from moshi_phone.audio import pcm
from processors.frames import SendMetricsFrame
from processors.mulaw import MulawDecoder, MulawEncoder
from processors.playout import PlayoutGovernor
from processors.resampler import Resampler
from processors.twilio import TwilioTransport
from tests.processors.passing import Passing
from tests.processors.simulated_line import PhoneSocket, call, loud_s, tone
from tests.support.logs import Logged


class Says(FrameProcessor):
    """Pushes frames at the call's first second, all at once, like a TTS that is faster than real time."""

    def __init__(self, *frames: Frame) -> None:
        super().__init__()
        self._frames = frames
        self._heard_s = 0.0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            before_s, self._heard_s = self._heard_s, self._heard_s + len(frame.audio) / 2 / frame.sample_rate
            if before_s < 1 <= self._heard_s:
                for one in self._frames:
                    await self.push_frame(one)


def audio(
    kind: type[OutputAudioRawFrame], secs: float, rate_hz: int = 24_000, piece_ms: int = 40
) -> list[Any]:
    whole = pcm.to_bytes(tone(secs, rate_hz))
    piece = rate_hz * piece_ms // 1000 * 2
    return [kind(whole[at : at + piece], rate_hz, 1) for at in range(0, len(whole), piece)]


def spoken(secs: float) -> list[Frame]:
    return [TTSStartedFrame(), *audio(TTSAudioRawFrame, secs), TTSStoppedFrame()]


def line(
    transport: TwilioTransport, *stages: FrameProcessor, rate_hz: int = 24_000
) -> Sequence[FrameProcessor]:
    return [
        transport.input(),
        MulawDecoder(),
        *stages,
        Resampler(rate_hz, 8_000),
        PlayoutGovernor(),
        MulawEncoder(),
        transport.output(),
    ]


def test_a_tts_is_played_to_its_end_without_the_caller_s_own_voice() -> None:
    """A regression: only 1.3 s of 4 were played, mixed with the caller's voice."""
    said = np.concatenate((np.zeros(8_000 * 6, np.float32), tone(2, 8_000)))
    heard, _ = call(lambda t: line(t, Says(*spoken(4))), 9, said)
    assert loud_s(heard) == pytest.approx(4, abs=0.06)


def test_a_clip_pushed_at_once_is_played_to_its_end() -> None:
    clip = audio(OutputAudioRawFrame, 4.8, piece_ms=4_800)
    heard, socket = call(lambda t: line(t, Says(*clip)), 7)
    assert loud_s(heard) == pytest.approx(4.8, abs=0.04)
    assert not [gap for gap in socket.playback.gaps if gap.ms > 1]


def test_paced_audio_is_sent_at_most_140_ms_early() -> None:
    """An interruption can only discard audio that Twilio still buffers or that is not sent yet."""
    _, socket = call(lambda t: line(t, Says(*spoken(4))), 7)
    ahead_s = [one.heard_sample / 8_000 - one.arrived_s for one in socket.playback.segments]
    assert max(ahead_s) <= 0.141


def test_an_interruption_ends_a_tts_at_once() -> None:
    async def interrupt(worker: PipelineWorker, _: TwilioTransport) -> None:
        await asyncio.sleep(2.5)
        await worker.queue_frame(InterruptionFrame())

    heard, socket = call(lambda t: line(t, Says(*spoken(4))), 4, script=interrupt)
    assert 1.4 < loud_s(heard) < 1.6
    assert [one["event"] for one in socket.messages].count("clear") == 1


@pytest.mark.parametrize("kind", [OutputAudioRawFrame, TTSAudioRawFrame])
def test_an_interruption_does_not_cut_uninterruptible_audio(kind: type[OutputAudioRawFrame]) -> None:
    """A regression: 0.12 s of 2 were missing, because the part that Twilio buffered was cleared."""
    clip = audio(kind, 2, piece_ms=2_000)
    clip[0].interruptible = False

    async def interrupt(worker: PipelineWorker, _: TwilioTransport) -> None:
        for _time in range(2):
            await asyncio.sleep(2)  # the clip begins at 1 s
            await worker.queue_frame(InterruptionFrame())

    heard, socket = call(lambda t: line(t, Says(*clip)), 1, script=interrupt)
    assert loud_s(heard) == pytest.approx(2, abs=0.02)
    assert [one["event"] for one in socket.messages].count("clear") == 1  # after it


def test_after_an_interruption_continuous_speech_is_not_late() -> None:
    """After a clear, the governor knows that Twilio's buffer is empty, and trims nothing."""
    governor = PlayoutGovernor(now_s=lambda: 10.0)
    governor.playout.send(np.full(6_400, 9_000, np.int16), 10.0)
    assert governor.playout.clock.lead_ms(10.0) == pytest.approx(800)
    governor.playout.cleared(10.1)
    assert governor.playout.clock.lead_ms(10.1) == pytest.approx(0)
    governor.playout.send(np.full(640, 9_000, np.int16), 10.1)
    assert governor.playout.clock.lead_ms(10.1) == pytest.approx(80)
    assert governor.playout.clock.underruns == 0


@pytest.mark.parametrize("piece_ms", [40, 130])
def test_a_tts_is_enclosed_in_bot_speaking_frames(piece_ms: int) -> None:
    before = Passing()
    frames = [TTSStartedFrame(), *audio(TTSAudioRawFrame, 2, piece_ms=piece_ms), TTSStoppedFrame()]
    call(lambda t: line(t, before, Says(*frames)), 5)
    kinds = [
        type(one)
        for one in before.frames
        if isinstance(one, (BotStartedSpeakingFrame, BotStoppedSpeakingFrame))
    ]
    assert kinds == [BotStartedSpeakingFrame, BotStoppedSpeakingFrame]
    assert before.of(BotSpeakingFrame)


class Speaks(FrameProcessor):
    """Continuous speech, clocked by the caller's frames: a tone from 1 s to 3 s, otherwise silence."""

    def __init__(self, rate_hz: int = 24_000) -> None:
        super().__init__(enable_direct_mode=True)
        self._tone = np.concatenate((np.zeros(rate_hz, np.float32), tone(2, rate_hz)))
        self._rate_hz = rate_hz
        self._at = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, InputAudioRawFrame):
            await self.push_frame(frame, direction)
            return
        samples = len(frame.audio) // 2 * self._rate_hz // frame.sample_rate
        now = self._tone[self._at : self._at + samples]
        self._at += samples
        now = np.concatenate((now, np.zeros(samples - now.size, np.float32)))
        await self.push_frame(SpeechOutputAudioRawFrame(pcm.to_bytes(now), self._rate_hz, 1))


def test_continuous_speech_is_enclosed_in_bot_speaking_frames() -> None:
    before, after = Passing(), Passing()
    heard, _ = call(lambda t: [*line(t, before, Speaks()), after], 5)
    assert loud_s(heard) == pytest.approx(2, abs=0.06)
    for seen in (before, after):
        kinds = [
            one for one in seen.frames if isinstance(one, (BotStartedSpeakingFrame, BotStoppedSpeakingFrame))
        ]
        assert [type(one) for one in kinds] == [BotStartedSpeakingFrame, BotStoppedSpeakingFrame]
        assert len(seen.of(BotSpeakingFrame)) in range(2, 4)
    # Played audio is passed on as PCM, for a recorder behind the transport.
    sent = b"".join(one.audio for one in after.of(SpeechOutputAudioRawFrame))
    assert loud_s(pcm.to_float(sent)) == pytest.approx(2, abs=0.06)


def test_a_clip_replaces_continuous_speech_without_delaying_it() -> None:
    clip = audio(TTSAudioRawFrame, 1, piece_ms=1_000)
    _, socket = call(lambda t: line(t, Says(*clip), Speaks()), 6)
    late_s = [one.heard_sample / 8_000 - one.arrived_s for one in socket.playback.segments]
    assert max(late_s) < 0.2
    assert max(late_s[-20:]) < 0.06


def test_audio_behind_a_stuck_send_is_dropped_and_counted(logged: Logged) -> None:
    before = Passing()

    async def stick(_: PipelineWorker, transport: TwilioTransport) -> None:
        socket: PhoneSocket = transport.output()._socket._stream.websocket  # type: ignore[assignment]
        await asyncio.sleep(1)
        socket.supported_overrides.clear()
        await asyncio.sleep(4)
        socket.supported_overrides.set()

    call(lambda t: line(t, before, Speaks()), 2, script=stick)
    assert logged.text.count("The peer is not reading") == 1
    dropped = [one.dropped_messages for one in before.of(SendMetricsFrame)]
    assert dropped
    assert dropped == sorted(dropped)
