"""pipecat's own parts in the list, each where pipecat's documentation puts it, and what the caller heard."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
from pipecat.audio.mixers.soundfile_mixer import SoundfileMixer
from pipecat.audio.resamplers.soxr_stream_resampler import SOXRStreamAudioResampler
from pipecat.frames.frames import (
    ClientConnectedFrame,
    FilterControlFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMUpdateSettingsFrame,
    MetricsFrame,
    OutputAudioRawFrame,
    OutputDTMFFrame,
    OutputDTMFUrgentFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    TTSSpeakFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VolumeFrame,
)
from pipecat.metrics.metrics import ProcessingMetricsData, TTFBMetricsData
from pipecat.observers.turn_tracking_observer import TurnTrackingObserver
from pipecat.observers.user_bot_latency_observer import UserBotLatencyObserver
from pipecat.pipeline.parallel_pipeline import ParallelPipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.audio.audio_buffer_processor import AudioBufferProcessor
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.frameworks.rtvi import RTVIObserver, RTVIProcessor
from pipecat.processors.idle_frame_processor import IdleFrameProcessor
from pipecat.services.settings import LLMSettings
from pipecat.transports.base_transport import TransportParams
from pipecat.turns.user_mute import MuteUntilFirstBotCompleteUserMuteStrategy

from moshi_phone.audio import pcm
from moshi_phone.engines.duplex import CallerText, DuplexSession, DuplexStep
from moshi_phone.testing.engine import FakeSession
from processors.moshi import MoshiProcessor
from processors.mulaw import MulawDecoder, MulawEncoder
from processors.playout import PlayoutGovernor
from processors.resampler import Resampler
from processors.twilio import TwilioTransport
from tests.processors.passing import Passing
from tests.processors.simulated_line import PhoneSocket, call, loud_s, tone
from tests.support.logs import Logged

STEP_S = 0.08
TONE = tone(30, 24_000)


class Talker(DuplexSession):
    """Speaks a tone and words in given seconds, hears given words; a step for each frame, at once.

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
    """``phone_call``'s list, with more stages."""
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


def heard_s(*stages: FrameProcessor, place: str = "before", secs: float = 5, **options: Any) -> float:
    """Seconds of the two that the session speaks, with more stages in one place."""
    heard, _ = call(lambda t: phone_line(t, Talker(), **{place: stages}), secs, **options)
    return loud_s(heard)


TWO = pytest.approx(2, abs=0.1)


class SoxrStage(FrameProcessor):
    """pipecat's resampler as a stage, as one would write it to compare it with ours."""

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
    """In place of a thread: simulated time would run on while that works."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


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
    """A filter as pipecat's interface has them; pipecat's own need keys or models."""

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


def test_audio_filters_of_transport_params() -> None:
    inward, outward, session = Halves(), Halves(), Talker()
    params = TransportParams(audio_in_filter=inward, audio_out_filter=outward)
    heard, _ = call(lambda t: phone_line(t, session), 4, tone(4, 8_000), params=params)
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


def strength(heard: NDArray[np.float32], hz: float) -> float:
    """How much of a frequency there is, as the amplitude of its sine."""
    wave_ = np.exp(-2j * np.pi * hz * np.arange(heard.size) / 8_000)
    return float(2 * np.abs(np.dot(heard, wave_)) / heard.size)


def test_soundfile_mixer_under_continuous_speech(tmp_path: Path) -> None:
    heard, socket = call(lambda t: phone_line(t, Talker([(16, 18)])), 21, params=background(tmp_path))
    assert strength(heard[130_400:140_800], 400) == pytest.approx(0.3, rel=0.1)
    # A tone of whole periods a second, so that its repeats are one tone: it is there all the time, and once.
    assert strength(heard[130_400:140_800], 1_000) == pytest.approx(0.15, rel=0.1)
    assert strength(heard[152_000:160_000], 1_000) == pytest.approx(0.15, rel=0.1)
    late_s = [one.heard_sample / 8_000 - one.arrived_s for one in socket.playback.segments]
    assert max(late_s[-20:]) < 0.25


def test_soundfile_mixer_without_anybody_who_speaks(tmp_path: Path) -> None:
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


def aggregators(**params: Any) -> tuple[LLMContext, LLMContextAggregatorPair]:
    context = LLMContext()
    return context, LLMContextAggregatorPair(context, user_params=LLMUserAggregatorParams(**params))


HEARS = {0.4: " Good", 0.6: " day.", 5.0: " And", 5.2: " now?"}
CONVERSATION = [
    {"role": "user", "content": "Good day."},
    {"role": "assistant", "content": " ".join(["la"] * 6)},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": " ".join(["la"] * 7)},
]


def test_context_aggregator_pair_holds_both_sides_in_order() -> None:
    """As in pipecat's documentation: nothing of the caller's reached it."""
    context, pair = aggregators()
    session = Talker([(2, 4), (7, 9)], HEARS)
    heard, _ = call(lambda t: phone_line(t, session, before=[pair.user()], behind=[pair.assistant()]), 12)
    assert context.messages == CONVERSATION
    assert loud_s(heard) == pytest.approx(4, abs=0.15)


def test_turns_and_latency_are_observed() -> None:
    turns, latency = TurnTrackingObserver(), UserBotLatencyObserver()
    counted: list[int] = []
    bot_spoke: list[bool] = []

    async def on_turn_ended(_: Any, number: int, __: float, ___: bool) -> None:
        counted.append(number)

    turns.add_event_handler("on_turn_ended", on_turn_ended)

    async def on_first(*_: Any) -> None:
        bot_spoke.append(True)

    latency.add_event_handler("on_first_bot_speech_latency", on_first)
    session = Talker([(2, 4), (7, 9)], HEARS)
    call(lambda t: phone_line(t, session), 14, observers=[turns, latency])
    assert counted == [1, 2]


def test_metrics_of_a_response() -> None:
    seen = Passing()
    worker_params = PipelineParams(
        audio_in_sample_rate=8_000, audio_out_sample_rate=8_000, enable_metrics=True
    )
    session = Talker([(3, 4)], {0.4: " Good", 0.6: " day."})
    call(lambda t: phone_line(t, session, after_moshi=[seen]), 7, worker_params=worker_params)
    data = [one for frame in seen.of(MetricsFrame) for one in frame.data]
    own = [one for one in data if one.processor.startswith("MoshiProcessor") and getattr(one, "value", 0)]
    assert [type(one) for one in own] == [TTFBMetricsData, ProcessingMetricsData]


def test_user_mute_and_the_session_s_clock() -> None:
    """A muted caller's audio is held back, and it is the clock: the session would never speak, nor unmute."""
    mute = MuteUntilFirstBotCompleteUserMuteStrategy()  # type: ignore[no-untyped-call]
    _, pair = aggregators(user_mute_strategies=[mute])
    session = Talker()
    said = tone(7, 8_000)
    heard, _ = call(
        lambda t: phone_line(t, session, before=[pair.user()], behind=[pair.assistant()]), 7, said
    )
    assert loud_s(heard) == TWO
    levels = [float(np.abs(frame).max()) for frame in session.fed]
    loud = [number * STEP_S for number, level in enumerate(levels) if level > 0.1]
    assert loud[0] == pytest.approx(3.4, abs=0.3)  # heard from the end of its first speech on
    assert len(session.fed) == pytest.approx(7 / STEP_S, abs=4)


def test_user_idle() -> None:
    _, pair = aggregators(user_idle_timeout=2.0)
    user, idle = pair.user(), []

    async def on_user_turn_idle(_: Any) -> None:
        idle.append(asyncio.get_running_loop().time())

    user.add_event_handler("on_user_turn_idle", on_user_turn_idle)
    call(lambda t: phone_line(t, Talker(), before=[user], behind=[pair.assistant()]), 8)
    assert idle == [pytest.approx(5.4, abs=0.3)]


def test_rtvi_processor_with_its_observer(logged: Logged) -> None:
    rtvi = RTVIProcessor()
    heard, _ = call(
        lambda t: phone_line(t, Talker(hears=HEARS), before=[rtvi]), 8, observers=[RTVIObserver(rtvi)]
    )
    assert loud_s(heard) == TWO
    assert logged.text.count("messages of an application (RTVI's too) are not sent") == 1


def test_idle_frame_processor() -> None:
    idle: list[float] = []

    async def callback(_: IdleFrameProcessor) -> None:
        idle.append(asyncio.get_running_loop().time())

    stage = IdleFrameProcessor(callback=callback, timeout=1.0, types=[UserStartedSpeakingFrame])
    assert heard_s(stage) == TWO
    assert len(idle) >= 3


def test_frame_logger(logged: Logged) -> None:
    from pipecat.processors.logger import FrameLogger  # noqa: PLC0415

    assert heard_s(FrameLogger("Line")) == TWO
    assert "> Line: StartFrame" in logged.text


def test_parallel_pipeline() -> None:
    seen = Passing()
    identity = IdentityFilter()  # type: ignore[no-untyped-call]
    parallel = ParallelPipeline([identity], [Ears(seen)])  # type: ignore[no-untyped-call]
    assert heard_s(parallel) == TWO
    assert len(seen.of(InputAudioRawFrame)) > 50


class Ears(FrameProcessor):
    """The other branch: takes the caller's audio, and lets none of it out again."""

    def __init__(self, seen: Passing) -> None:
        super().__init__()
        self._seen = seen

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._seen.frames.append(frame)
        else:
            await self.push_frame(frame, direction)


async def _queue(worker: PipelineWorker, *frames: Frame) -> None:
    await asyncio.sleep(0.5)
    await worker.queue_frames(list(frames))


def test_tts_speak_frame_is_said_in_the_engine_s_own_voice() -> None:
    session, behind = Talker(), Passing()
    call(
        lambda t: phone_line(t, session, after_moshi=[behind]),
        2,
        script=lambda worker, _: _queue(worker, TTSSpeakFrame("One moment, please.")),
    )
    assert session.told == ["One moment, please."]
    assert not behind.of(TTSSpeakFrame)


def test_an_interruption_drops_the_words_that_wait() -> None:
    session = FakeSession()
    call(
        lambda t: phone_line(t, session),
        2,
        script=lambda worker, _: _queue(worker, TTSSpeakFrame("One moment, please."), InterruptionFrame()),
    )
    assert session.sayings == ["One moment, please."]
    assert session.saying_stops == 1


def test_tts_speak_frame_passes_an_engine_that_cannot_say_it(logged: Logged) -> None:
    class Mute(Talker):
        def say(self, text: str) -> None:
            DuplexSession.say(self, text)

    behind = Passing()
    call(
        lambda t: phone_line(t, Mute(), after_moshi=[behind]),
        2,
        script=lambda worker, _: _queue(worker, TTSSpeakFrame("One moment, please.")),
    )
    assert [one.text for one in behind.of(TTSSpeakFrame)] == ["One moment, please."]
    assert "cannot say given words" in logged.text
    assert "One moment" not in logged.text


def test_settings_are_updated() -> None:
    session = Talker()
    moshi = MoshiProcessor(session, settings=MoshiProcessor.Settings(temperature=0.8, voice="moshiko"))
    delta = LLMSettings(temperature=0.3, system_instruction="You are a pirate.")
    call(
        lambda t: phone_line(t, moshi),
        2,
        script=lambda worker, _: _queue(worker, LLMUpdateSettingsFrame(delta=delta)),
    )
    assert session.temperature == 0.3
    request = moshi.settings.request()
    assert (request.temperature, request.persona, request.voice) == (0.3, "You are a pirate.", "moshiko")


@pytest.mark.parametrize("kind", [OutputDTMFFrame, OutputDTMFUrgentFrame])
def test_keys_are_heard_as_their_tones(kind: Any) -> None:
    """Twilio's stream has no message for them; a menu at the other end hears the tones all the same."""
    keys = kind(buttons=[KeypadEntry.FIVE])
    heard, _ = call(
        lambda t: phone_line(t, Talker(speaks=())), 12, script=lambda worker, _: _queue(worker, keys)
    )
    (loud,) = np.nonzero(np.abs(heard) > 0.02)
    assert loud.size
    played = heard[loud[0] : loud[-1]]
    assert strength(played, 770) > 0.02
    assert strength(played, 1_336) > 0.02
    assert strength(played, 941) < 0.01


@pytest.mark.parametrize("kind", [OutputTransportMessageFrame, OutputTransportMessageUrgentFrame])
def test_messages_are_told_once(kind: Any, logged: Logged) -> None:
    messages = [kind(message={"n": n}) for n in range(5)]
    heard, _ = call(lambda t: phone_line(t, Talker()), 4, script=lambda worker, _: _queue(worker, *messages))
    assert loud_s(heard) == TWO
    assert logged.text.count("messages of an application") == 1


def without(kind: type[FrameProcessor], nth: int = 0) -> Any:
    def stages(transport: TwilioTransport) -> list[FrameProcessor]:
        line = phone_line(transport, Talker())
        line.remove([stage for stage in line if isinstance(stage, kind)][nth])
        return line

    return stages


@pytest.mark.parametrize(
    ("kind", "nth", "told", "secs"),
    [
        (MulawEncoder, 0, "put MulawEncoder() before it", 2),
        (MulawDecoder, 0, "put MulawDecoder() before it", 0),
        (Resampler, 0, "put Resampler(8000, 24000) before it", 2),
        (Resampler, 1, "put Resampler(24000, 8000) before it", 2),
    ],
)
def test_a_forgotten_stage_is_told_once(
    kind: type[FrameProcessor], nth: int, told: str, secs: float, logged: Logged
) -> None:
    heard, _ = call(without(kind, nth), 5)
    assert logged.text.count(told) == 1
    assert loud_s(heard) == pytest.approx(secs, abs=0.2)


def test_client_connected_and_disconnected() -> None:
    seen, told = Passing(), []

    async def on_client_connected(_: TwilioTransport, socket: PhoneSocket) -> None:
        told.append("connected")

    async def on_client_disconnected(_: TwilioTransport, socket: PhoneSocket) -> None:
        told.append("disconnected")

    async def hang_up(_: PipelineWorker, transport: TwilioTransport) -> None:
        await asyncio.sleep(1)
        socket: PhoneSocket = transport.output()._socket._stream.websocket  # type: ignore[assignment]
        socket._inbox.put_nowait({"type": "websocket.disconnect"})

    def stages(transport: TwilioTransport) -> list[FrameProcessor]:
        transport.add_event_handler("on_client_connected", on_client_connected)
        transport.add_event_handler("on_client_disconnected", on_client_disconnected)
        return phone_line(transport, Talker(), at_8_khz=[seen])

    call(stages, 1, script=hang_up)
    assert told == ["connected", "disconnected"]
    assert len(seen.of(ClientConnectedFrame)) == 1


def test_turn_frames_go_both_ways() -> None:
    before, after = Passing(), Passing()
    call(lambda t: phone_line(t, Talker(hears=HEARS), before=[before], after_moshi=[after]), 8)
    for seen in (before, after):
        kinds = [
            type(one)
            for one in seen.frames
            if isinstance(one, (UserStartedSpeakingFrame, UserStoppedSpeakingFrame))
        ]
        assert kinds == [UserStartedSpeakingFrame, UserStoppedSpeakingFrame] * 2
