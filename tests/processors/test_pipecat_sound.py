"""pipecat's resampler, filters, mixers and buffers in the list, and what the caller heard."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
from pipecat.audio.mixers.soundfile_mixer import SoundfileMixer
from pipecat.audio.resamplers.soxr_stream_resampler import SOXRStreamAudioResampler
from pipecat.audio.vad.vad_analyzer import VADAnalyzer
from pipecat.frames.frames import (
    FilterControlFrame,
    Frame,
    InputAudioRawFrame,
    OutputAudioRawFrame,
    SpeechOutputAudioRawFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    VolumeFrame,
)
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.audio_buffer_processor import AudioBufferProcessor
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.transports.base_transport import TransportParams

from moshi_phone.audio import pcm
from moshi_phone.engines.duplex import DuplexSession
from processors.moshi import MoshiProcessor
from processors.mulaw import MulawDecoder, MulawEncoder
from processors.resampler import Resampler
from processors.twilio import TwilioTransport
from tests.processors.passing import Passing
from tests.processors.pipecat_line import TWO, Talker, phone_line, strength
from tests.processors.simulated_line import call, loud_s, tone
from tests.support.logs import Logged


class SoxrStage(FrameProcessor):
    """pipecat's resampler as a stage, for comparison with ours."""

    def __init__(self, out_hz: int) -> None:
        super().__init__()
        self._resampler = SOXRStreamAudioResampler()
        self._out_hz = out_hz

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, (InputAudioRawFrame, OutputAudioRawFrame)) and frame.sample_rate != self._out_hz:
            audio = await self._resampler.resample(frame.audio, frame.sample_rate, self._out_hz)
            if not audio:
                return
            frame = type(frame)(audio, self._out_hz, 1)
        await self.push_frame(frame, direction)


def test_soxr_resampler() -> None:
    session = Talker()

    def stages(transport: TwilioTransport) -> list[FrameProcessor]:
        line = phone_line(transport, session)
        return [
            SoxrStage(24_000 if number < 4 else 8_000) if isinstance(stage, Resampler) else stage
            for number, stage in enumerate(line)
        ]

    heard, _ = call(stages, 5)
    assert loud_s(heard) == TWO
    assert len(session.fed) > 55


def speech() -> NDArray[np.float32]:
    """A voice: the parrot's greeting, at 8 kHz, after a second of silence."""
    import soundfile  # noqa: PLC0415

    folder = Path(__file__).parents[2] / "moshi_phone" / "engines"
    (clip,) = folder.glob("parrot*/*.flac") if not list(folder.glob("*.flac")) else folder.glob("*.flac")
    voice, rate_hz = soundfile.read(clip, dtype="float32")
    assert rate_hz == 24_000
    return np.concatenate((np.zeros(8_000, np.float32), voice[: voice.size // 3 * 3 : 3])).astype(np.float32)


class AtOnce(Executor):
    """Replaces a thread: simulated time would pass while it works."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class Anything(VADAnalyzer):
    """Finds no speech."""

    def __init__(self, rate_hz: int | None = None) -> None:
        super().__init__(sample_rate=rate_hz)
        self._executor = AtOnce()  # type: ignore[assignment]

    def num_frames_required(self) -> int:
        return 256

    def voice_confidence(self, buffer: bytes) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("place", "own_hz", "pipeline_hz", "remedy"),
    [
        ("at_8_khz", None, 8_000, None),
        ("before", None, 8_000, "put it before Resampler(8000, 24000)"),
        ("before", 24_000, 8_000, None),
        # silent before: the pipeline's rate was not the line's
        ("at_8_khz", None, 16_000, "put a Resampler(8000, 16000) before it"),
        ("at_8_khz", 16_000, 8_000, "put a Resampler(8000, 16000) before it"),
        ("at_8_khz", 8_000, 16_000, None),
        ("behind_their_own", 16_000, 8_000, None),
    ],
)
def test_a_detector_at_the_wrong_rate_is_logged(
    place: str, own_hz: int | None, pipeline_hz: int, remedy: str | None, logged: Logged
) -> None:
    """It took 24 kHz for 8, and found no turn, without a message. An STT does the same."""
    stages: list[FrameProcessor] = [VADProcessor(vad_analyzer=Anything(own_hz))]
    if place == "behind_their_own":  # a stage of the user's, which may resample
        place, stages = "at_8_khz", [Passing(), *stages]
    params = PipelineParams(audio_in_sample_rate=pipeline_hz, audio_out_sample_rate=8_000)
    call(lambda t: phone_line(t, Talker(), **{place: stages}), 0.2, worker_params=params)
    assert logged.text.count("Hz, and gets") == (remedy is not None)
    assert (remedy or "") in logged.text


def test_vad_processor() -> None:
    pytest.importorskip("onnxruntime")
    from pipecat.audio.vad.silero import SileroVADAnalyzer  # noqa: PLC0415
    from pipecat.frames.frames import VADUserStartedSpeakingFrame, VADUserStoppedSpeakingFrame  # noqa: PLC0415

    seen = Passing()
    analyzer = SileroVADAnalyzer()
    analyzer._executor = AtOnce()  # type: ignore[assignment]
    vad = VADProcessor(vad_analyzer=analyzer)
    heard, _ = call(lambda t: phone_line(t, Talker(), at_8_khz=[vad, seen]), 6, speech())
    assert seen.of(VADUserStartedSpeakingFrame)
    assert seen.of(VADUserStoppedSpeakingFrame)
    assert loud_s(heard) == TWO


class Halves(BaseAudioFilter):
    """A filter with pipecat's interface; pipecat's own ones need keys or models."""

    def __init__(self) -> None:
        self.rates_hz: list[int] = []
        self.stopped = 0

    async def start(self, sample_rate: int) -> None:
        self.rates_hz.append(sample_rate)

    async def stop(self) -> None:
        self.stopped += 1

    async def process_frame(self, frame: FilterControlFrame) -> None:
        pass

    async def filter(self, audio: bytes) -> bytes:
        return pcm.to_bytes(pcm.to_float(audio) * np.float32(0.5))


@pytest.mark.parametrize("is_configured", [False, True])
def test_audio_filters_of_transport_params(*, is_configured: bool) -> None:
    """Also by a pipeline function, which gets a transport: it had no way to set any."""
    inward, outward, session = Halves(), Halves(), Talker()
    params = TransportParams(audio_in_filter=inward, audio_out_filter=outward)

    def line(transport: TwilioTransport) -> Sequence[FrameProcessor]:
        if is_configured:
            transport.configure(params)
        stages = phone_line(transport, session)
        with pytest.raises(RuntimeError, match="before input"):
            transport.configure(params)
        return stages

    heard, _ = call(line, 4, tone(4, 8_000), params=None if is_configured else params)
    assert (inward.rates_hz, outward.rates_hz) == ([8_000], [8_000])
    assert (inward.stopped, outward.stopped) == (1, 1)
    assert np.abs(np.concatenate(session.fed)).max() == pytest.approx(0.15, rel=0.1)
    assert np.abs(heard).max() == pytest.approx(0.15, rel=0.1)
    assert loud_s(heard) == TWO


def test_volume_of_transport_params_and_of_a_frame() -> None:
    async def louder(worker: PipelineWorker, _: TwilioTransport) -> None:
        await asyncio.sleep(2)
        await worker.queue_frame(VolumeFrame(volume=1.0))

    params = TransportParams(audio_out_volume=0.5)
    heard, _ = call(lambda t: phone_line(t, Talker()), 2, params=params, script=louder)
    assert np.abs(heard[8_000:15_200]).max() == pytest.approx(0.15, rel=0.1)
    assert np.abs(heard[17_600:24_000]).max() == pytest.approx(0.3, rel=0.1)


def background(path: Path) -> TransportParams:
    music = tone(1, 8_000, hz=1_000)
    with wave.open(str(path / "music.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(pcm.to_bytes(music))
    mixer = SoundfileMixer(sound_files={"music": str(path / "music.wav")}, default_sound="music", volume=0.5)
    return TransportParams(audio_out_mixer=mixer)


def test_soundfile_mixer_under_continuous_speech(tmp_path: Path) -> None:
    heard, socket = call(lambda t: phone_line(t, Talker([(16, 18)])), 21, params=background(tmp_path))
    assert strength(heard[130_400:140_800], 400) == pytest.approx(0.3, rel=0.1)
    # A tone of whole periods a second, so that its repeats are one tone: it is heard all the time, and once.
    assert strength(heard[130_400:140_800], 1_000) == pytest.approx(0.15, rel=0.1)
    assert strength(heard[152_000:160_000], 1_000) == pytest.approx(0.15, rel=0.1)
    late_s = [one.heard_sample / 8_000 - one.arrived_s for one in socket.playback.segments]
    assert max(late_s[-20:]) < 0.25


def test_soundfile_mixer_without_speech(tmp_path: Path) -> None:
    def stages(transport: TwilioTransport) -> list[FrameProcessor]:
        return [transport.input(), MulawDecoder(), MulawEncoder(), transport.output()]

    heard, socket = call(stages, 8, params=background(tmp_path))
    # The file is read in a thread, while simulated time runs on: by then it has been.
    assert loud_s(heard[6 * 8_000 : 8 * 8_000]) == pytest.approx(2, abs=0.05)
    ahead_s = [one.heard_sample / 8_000 - one.arrived_s for one in socket.playback.segments]
    assert max(ahead_s) < 0.15


def test_audio_buffer_processor_records_both() -> None:
    tracks: list[tuple[bytes, bytes]] = []
    recorder = AudioBufferProcessor(num_channels=2, auto_start_recording=True)

    async def on_track_audio_data(_: Any, user: bytes, bot: bytes, rate_hz: int, __: int) -> None:
        assert rate_hz == 8_000
        tracks.append((user, bot))

    recorder.add_event_handler("on_track_audio_data", on_track_audio_data)
    said = np.concatenate((np.zeros(8_000 * 4, np.float32), tone(1, 8_000)))
    call(
        lambda t: phone_line(t, MoshiProcessor(Talker(), audio_passthrough=True), behind=[recorder]), 7, said
    )
    user, bot = (pcm.to_float(b"".join(track)) for track in zip(*tracks, strict=True))
    assert loud_s(user) == pytest.approx(1, abs=0.15)
    assert loud_s(bot) == TWO


class Silent(Talker):
    """An engine that cannot say given words."""

    def say(self, text: str) -> None:
        DuplexSession.say(self, text)


class Announcer(TTSService):
    """A TTS that says everything as a tone of one second, at once."""

    def __init__(self) -> None:
        super().__init__(sample_rate=24_000, settings=TTSSettings(model=None, voice=None, language=None))
        self.said: list[str] = []

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame, None]:
        self.said.append(text)
        yield TTSAudioRawFrame(pcm.to_bytes(tone(1, 24_000)), 24_000, 1, context_id)


@pytest.mark.parametrize("place", ["before", "after_moshi"])
def test_a_tts_for_announcements_does_not_repeat_the_engine_s_words(place: str) -> None:
    """Behind the engine, it also said each of its words: 16.7 s for 3."""
    announcer = Announcer()

    async def announce(worker: PipelineWorker, _: TwilioTransport) -> None:
        await asyncio.sleep(4)
        await worker.queue_frame(TTSSpeakFrame("This call is recorded."))

    heard, _ = call(lambda t: phone_line(t, Silent(), **{place: [announcer]}), 3, script=announce)
    assert announcer.said == ["This call is recorded."]
    assert loud_s(heard) == pytest.approx(2 + 1, abs=0.1)


@dataclass
class Speaker(InputAudioRawFrame):
    """A frame of the user's own class, whose field has no default."""

    who: str


@dataclass
class Mood(SpeechOutputAudioRawFrame):
    mood: str


@dataclass
class Clip(TTSAudioRawFrame):
    mood: str = field(kw_only=True)


class Tag(FrameProcessor):
    """Replaces frames by the user's own class."""

    def __init__(self, kind: type[Frame], own: Any, **fields: str) -> None:
        super().__init__()
        self._kind, self._own, self._fields = kind, own, fields

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if type(frame) is self._kind:
            given: Any = frame
            frame = self._own(given.audio, given.sample_rate, given.num_channels, **self._fields)
        await self.push_frame(frame, direction)


def test_audio_frames_of_one_s_own_class_pass_with_their_fields() -> None:
    """The resampler could not make them: nothing was heard on either side."""
    session, at_24_khz, at_the_end = Talker(), Passing(), Passing()

    def stages(transport: TwilioTransport) -> Sequence[FrameProcessor]:
        line = phone_line(
            transport,
            session,
            at_8_khz=[Tag(InputAudioRawFrame, Speaker, who="caller")],
            before=[at_24_khz],
            after_moshi=[Tag(SpeechOutputAudioRawFrame, Mood, mood="calm")],
        )
        return [*line[:-2], at_the_end, *line[-2:]]

    async def play(worker: PipelineWorker, _: TwilioTransport) -> None:
        await asyncio.sleep(3.5)
        await worker.queue_frame(Clip(pcm.to_bytes(tone(1, 24_000)), 24_000, 1, mood="loud"))

    heard, _ = call(stages, 2, script=play)
    assert loud_s(heard) == pytest.approx(3, abs=0.1)
    assert len(session.fed) > 55
    assert {frame.who for frame in at_24_khz.of(Speaker)} == {"caller"}
    assert {frame.mood for frame in [*at_the_end.of(Mood), *at_the_end.of(Clip)]} == {"calm", "loud"}
