"""``bot()`` with pipecat's other transports: other phone companies, pipecat's clients, a browser."""

from __future__ import annotations

import asyncio
import base64
import fractions
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
from pipecat.frames.frames import Frame
from pipecat.frames.protobufs import frames_pb2
from pipecat.pipeline.pipeline import Pipeline
from pipecat.runner.types import (
    DailyRunnerArguments,
    LiveKitRunnerArguments,
    MOQRunnerArguments,
    RunnerArguments,
    SmallWebRTCRunnerArguments,
    WebSocketRunnerArguments,
)
from pipecat.serializers.plivo import PlivoFrameSerializer
from pipecat.serializers.telnyx import TelnyxFrameSerializer
from pipecat.transports.base_transport import TransportParams
from websockets.asyncio.client import ClientConnection, connect

import bot
from moshi_phone.audio import g711
from moshi_phone.engines.choose import EngineChoice
from moshi_phone.engines.duplex import CallOverrides, EngineUnavailable, Progress
from moshi_phone.engines.options import EngineOptions
from moshi_phone.server import runner
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.runner import RunnerState
from moshi_phone.server.runner_transport import make_transport
from moshi_phone.server.settings import Settings
from moshi_phone.testing import FakeEngine
from pipelines.any_transport import any_transport
from pipelines.call_parts import CallParts
from processors.gain import AutomaticGain
from processors.noise import NoiseSuppressor
from tests.support.logs import Logged
from tests.support.phone import Phone, serving_app, start_message

PROTOBUFS: Any = frames_pb2  # generated: mypy sees nothing in it
TONE = g711.encode((8_000 * np.sin(2 * np.pi * 500 / 8_000 * np.arange(160))).astype("<i2").tobytes())
TELNYX = {
    "event": "start",
    "stream_id": "stream-1",
    "start": {
        "call_control_id": "call-1",
        "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
        "from": "+15551234567",
        "to": "+15550001111",
    },
}
PLIVO = {"event": "start", "start": {"streamId": "stream-1", "callId": "call-1"}}
EXOTEL = {
    "event": "start",
    "start": {"stream_sid": "stream-1", "call_sid": "call-1", "account_sid": "AC1"},
}


class AskedEngine(FakeEngine):
    """A mirror that loads when the test says so, and records its calls' requests."""

    supported_overrides = frozenset({"persona", "voice", "temperature"})

    def __init__(self) -> None:
        super().__init__()
        self.loaded = asyncio.Event()
        self.loaded.set()
        self.failure: str | None = None
        self.requests: list[CallOverrides] = []

    async def start(self, progress: Progress) -> None:
        await self.loaded.wait()
        if self.failure:
            raise EngineUnavailable(self.failure)
        await super().start(progress)

    def open_session(self, request: CallOverrides = CallOverrides()) -> object:  # type: ignore[override] # noqa: B008
        self.requests.append(request)
        return super().open_session(request)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> AskedEngine:
    """The engine that answers; no variable of the tests' environment is used."""
    made = AskedEngine()
    monkeypatch.setattr(runner, "create_engine", lambda _: EngineChoice(made, "as requested"))
    monkeypatch.setattr(bot, "runner_state", RunnerState(lambda: Settings(engine=EngineOptions())))
    return made


@pytest.fixture
def hung_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that pipecat's serializers hung up through their company's API, which is not reached here."""
    calls: list[str] = []
    for name, serializer in (("telnyx", TelnyxFrameSerializer), ("plivo", PlivoFrameSerializer)):

        async def hang_up(_: object, name: str = name) -> None:
            calls.append(name)

        monkeypatch.setattr(serializer, "_hang_up_call", hang_up)
    for variable in ("TELNYX_API_KEY", "PLIVO_AUTH_ID", "PLIVO_AUTH_TOKEN"):
        monkeypatch.setenv(variable, "secret")
    return calls


@asynccontextmanager
async def serving_bot(transport_type: str | None = None, body: object = None) -> AsyncIterator[str]:
    """A minimal copy of how pipecat's runner handles a WebSocket; yield the address."""
    app = FastAPI()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        arguments = WebSocketRunnerArguments(
            websocket=websocket, transport_type=transport_type, body=body, session_id="session-1"
        )
        await bot.bot(arguments)

    async with serving_app(uvicorn.Config(app, log_level="warning")) as address:
        yield f"ws://{address}/ws"


async def talk(socket: ClientConnection, packets: int = 50) -> None:
    payload = base64.b64encode(TONE).decode()
    media = {"event": "media", "media": {"track": "inbound", "payload": payload}}
    for _ in range(packets):
        await socket.send(json.dumps(media))


async def hear(socket: ClientConnection, loud_samples: int, *, linear: bool = False) -> np.ndarray:
    """Wait for a number of loud samples; return all audio that the phone would have played by then."""
    samples = np.zeros(0, np.int16)
    async with asyncio.timeout(20):
        while np.count_nonzero(np.abs(samples.astype(int)) > 1_000) < loud_samples:
            message = json.loads(await socket.recv())
            if message["event"] in ("media", "playAudio"):
                data = base64.b64decode(message["media"]["payload"])
                samples = np.append(samples, np.frombuffer(data if linear else g711.decode(data), "<i2"))
    return samples


@pytest.mark.parametrize(("company", "start"), [("telnyx", TELNYX), ("plivo", PLIVO)])
async def test_other_phone_companies_use_pipecat_s_transport(
    engine: AskedEngine, hung_up: list[str], company: str, start: dict[str, object]
) -> None:
    async with serving_bot() as url, connect(url) as socket:
        await socket.send(json.dumps({"event": "connected"}))
        await socket.send(json.dumps(start))
        await talk(socket)  # a second: 12 whole frames, of whose 7,680 samples an eighth is near zero
        heard = await hear(socket, 6_600)
        assert heard.size == 7_680  # all of it, and nothing in between
        assert engine.running == 1
        (call,) = (await bot.runner_state.get()).calls.running
        assert call.start.call_sid == "call-1"
        call.request_end("the test is over")
        await socket.wait_closed()
    assert hung_up == [company]
    assert engine.running == 0


SEEN: list[CallParts] = []


def own_pipeline(parts: CallParts) -> Pipeline:
    """The function that ``--pipeline`` names."""
    SEEN.append(parts)
    return any_transport(parts)


@pytest.mark.usefixtures("engine", "hung_up")
@pytest.mark.parametrize(
    ("transport_type", "first", "rate_hz", "rtvi", "is_cleaned"),
    [
        (None, [{"event": "connected"}, TELNYX], 8_000, False, True),
        ("websocket", [], 24_000, True, False),
    ],
)
async def test_a_user_s_pipeline_is_used_on_every_transport(
    *,
    monkeypatch: pytest.MonkeyPatch,
    transport_type: str | None,
    first: list[object],
    rate_hz: int,
    rtvi: bool,
    is_cleaned: bool,
) -> None:
    SEEN.clear()
    server = ServerOptions(pipeline="tests.test_bot_transports:own_pipeline")
    calls = CallOptions(noise_suppression=is_cleaned, automatic_gain=is_cleaned)
    monkeypatch.setattr(bot, "runner_state", RunnerState(lambda: Settings(server=server, calls=calls)))
    async with serving_bot(transport_type) as url, connect(url) as socket:
        for each in first:
            await socket.send(json.dumps(each))
        async with asyncio.timeout(10):
            while not SEEN:  # noqa: ASYNC110 - the call begins in the background
                await asyncio.sleep(0.01)
    assert (SEEN[0].rate_hz, SEEN[0].rtvi) == (rate_hz, rtvi)
    asked = [NoiseSuppressor, AutomaticGain] if is_cleaned else []
    assert [type(stage) for stage in SEEN[0].cleaners] == asked


async def test_exotel_s_linear_audio(engine: AskedEngine) -> None:
    async with serving_bot() as url, connect(url) as socket:
        await socket.send(json.dumps({"event": "connected"}))
        await socket.send(json.dumps(EXOTEL))
        tone = (8_000 * np.sin(2 * np.pi * 440 / 8_000 * np.arange(800))).astype("<i2").tobytes()
        for _ in range(10):
            payload = base64.b64encode(tone).decode()
            await socket.send(json.dumps({"event": "media", "media": {"payload": payload}}))
        await hear(socket, 7_000, linear=True)


async def test_a_company_without_its_key_is_refused_with_the_variable_s_name(
    engine: AskedEngine, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.delenv("TELNYX_API_KEY", raising=False)
    async with serving_bot() as url, connect(url) as socket:
        await socket.send(json.dumps({"event": "connected"}))
        await socket.send(json.dumps(TELNYX))
        await socket.wait_closed()
        assert "TELNYX_API_KEY" in (socket.close_reason or "")
    assert "A call by telnyx needs TELNYX_API_KEY" in logged.text
    assert engine.running == 0


async def test_a_client_of_pipecat_s_with_protobuf_and_rtvi(engine: AskedEngine) -> None:
    async with serving_bot("websocket") as url, connect(url) as socket:
        ready = {"id": "1", "label": "rtvi-ai", "type": "client-ready", "data": {"version": "1.0.0"}}
        await socket.send(message(ready))
        tone = (8_000 * np.sin(2 * np.pi * 440 / 16_000 * np.arange(320))).astype("<i2").tobytes()

        async def speak() -> None:
            while True:
                await socket.send(audio(tone, 16_000))
                await asyncio.sleep(0.02)

        speaking = asyncio.create_task(speak())
        loudest, types = 0, set[str]()
        async with asyncio.timeout(20):
            while loudest < 2_000 or not {"bot-ready", "bot-started-speaking", "bot-tts-text"} <= types:
                frame = PROTOBUFS.Frame.FromString(await socket.recv())
                if frame.WhichOneof("frame") == "audio":
                    assert frame.audio.sample_rate == 24_000
                    loudest = max(loudest, int(np.abs(np.frombuffer(frame.audio.audio, "<i2")).max()))
                else:
                    types.add(json.loads(frame.message.data)["type"])
        speaking.cancel()
        assert engine.running == 1
    async with asyncio.timeout(20):
        while engine.running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Halved(BaseAudioFilter):
    """Halves the caller's audio."""

    async def start(self, sample_rate: int) -> None:
        assert sample_rate == 24_000

    async def stop(self) -> None: ...

    async def process_frame(self, frame: Frame) -> None: ...

    async def filter(self, audio: bytes) -> bytes:
        return (np.frombuffer(audio, "<i2") // 2).tobytes()


def configured(parts: CallParts) -> Pipeline:
    quieter = TransportParams(audio_in_filter=Halved(), audio_out_volume=0.5, audio_out_channels=2)
    parts.configure(quieter)
    return any_transport(parts)


async def test_a_filter_and_a_volume_on_pipecat_s_transport(
    engine: AskedEngine, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """A pipeline function could give them to the phone's transport only; on others, the call failed."""
    server = ServerOptions(pipeline="tests.test_bot_transports:configured")
    monkeypatch.setattr(bot, "runner_state", RunnerState(lambda: Settings(server=server)))
    tone = (8_000 * np.sin(2 * np.pi * 440 / 24_000 * np.arange(480))).astype("<i2").tobytes()
    heard = np.zeros(0, np.int16)
    async with serving_bot("websocket") as url, connect(url) as socket:
        async with asyncio.timeout(10):
            while heard.size < 12_000:
                await socket.send(audio(tone, 24_000))
                await asyncio.sleep(0.01)
                while len(heard) < 12_000:
                    try:
                        frame = PROTOBUFS.Frame.FromString(await asyncio.wait_for(socket.recv(), 0.01))
                    except TimeoutError:
                        break
                    heard = np.append(heard, np.frombuffer(frame.audio.audio, "<i2"))
    assert int(np.abs(heard).max()) == pytest.approx(2_000, rel=0.1)
    assert "fixed on this transport: audio_out_channels" in logged.text


def message(data: Mapping[str, object]) -> bytes:
    frame = PROTOBUFS.Frame()
    frame.message.data = json.dumps(data)
    return bytes(frame.SerializeToString())


def audio(pcm: bytes, rate_hz: int) -> bytes:
    frame = PROTOBUFS.Frame()
    frame.audio.audio, frame.audio.sample_rate, frame.audio.num_channels = pcm, rate_hz, 1
    return bytes(frame.SerializeToString())


async def test_the_body_contains_the_call_s_requests(engine: AskedEngine) -> None:
    body = {"persona": "You are Anna.", "voice": "NATF2", "temperature": 0.5, "customer": 7}
    async with serving_bot(body=body) as url, connect(url) as socket:
        phone = Phone(socket)
        await phone.send({"event": "connected"})
        await phone.send(start_message(parameters={"voice": "NATM1"}))
        await phone.say(times=8)
        await phone.listen(frames=1)
    asked = engine.requests[0]
    assert (asked.persona, asked.voice, asked.temperature) == ("You are Anna.", "NATM1", 0.5)


async def test_an_invalid_body_is_refused_with_the_reason(engine: AskedEngine) -> None:
    async with serving_bot("websocket", body={"temperature": "hot"}) as url, connect(url) as socket:
        await socket.wait_closed()
        assert socket.close_reason == "expected a number for temperature in the body"


async def test_a_caller_hears_ringing_while_the_engine_loads(engine: AskedEngine) -> None:
    engine.loaded.clear()
    async with serving_bot() as url, connect(url) as socket:
        phone = Phone(socket)
        await phone.send({"event": "connected"})
        await phone.send(start_message())
        await phone.say(times=16)  # silence
        ringing = await phone.listen(frames=3)
        assert len(set(ringing)) > 50
        assert engine.opened == 0
        engine.loaded.set()
        while not engine.opened:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await phone.say(TONE, times=24)
        await phone.listen(frames=4)
        assert engine.sessions[0].steps >= 3  # the mirror answers now


async def test_a_call_to_an_engine_that_cannot_load_gets_the_reason_and_the_next_retries(
    engine: AskedEngine,
) -> None:
    engine.failure = "No weights; run download."
    async with serving_bot() as url:
        for _ in range(2):
            async with connect(url) as socket:
                phone = Phone(socket)
                await phone.send({"event": "connected"})
                await phone.send(start_message())
                await phone.say(times=8)
                assert await phone.closed() == (1011, "No weights; run download.")
        engine.failure = None
        async with connect(url) as socket:
            phone = Phone(socket)
            await phone.send({"event": "connected"})
            await phone.send(start_message())
            await phone.say(times=8)
            await phone.listen(frames=1)


async def test_a_socket_without_a_start_is_closed_with_a_reason(engine: AskedEngine) -> None:
    async with serving_bot() as url:
        for messages in (["{}", "{}"], ["no JSON", "[]"], [b"bytes"]):
            async with connect(url) as socket:
                for each in messages:
                    await socket.send(each)
                await socket.send(json.dumps({"event": "stop"}))
                await socket.wait_closed()
                assert socket.close_code == 1002
    assert engine.running == 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (RunnerArguments(), "This transport of the runner is not supported"),
        # it named "the package None": pipecat's own error has no name
        (DailyRunnerArguments(room_url="https://x.daily.co/x"), "needs the package daily, of an extra"),
        (LiveKitRunnerArguments("room", "wss://x", "token"), "needs the package livekit, of an extra"),
        (MOQRunnerArguments(serve=True), "needs the package moq, of an extra"),  # was a traceback
    ],
)
async def test_an_unsupported_transport_is_reported_in_one_sentence(
    call: RunnerArguments, sentence: str, engine: AskedEngine, logged: Logged
) -> None:
    await bot.bot(call)
    assert sentence in logged.text


async def test_moq_has_the_engine_s_rate_at_both_ends() -> None:
    with patch.dict(sys.modules, {"moq": MagicMock(Error=Exception)}):  # the package is no dependency
        transport: Any = await make_transport(MOQRunnerArguments(serve=True), None)  # was refused
    params = transport._params
    assert (params.audio_in_sample_rate, params.audio_out_sample_rate) == (24_000, 24_000)
    assert params.audio_in_enabled
    assert params.audio_out_enabled


@pytest.mark.extra
async def test_a_browser_by_webrtc(engine: AskedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real peer connection with Opus, on the loopback, in this process; RTVI goes over its data channel."""
    pytest.importorskip("aiortc", reason="needs --extra webrtc, which .ci/run has")
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription  # noqa: PLC0415
    from aiortc.mediastreams import AudioStreamTrack  # noqa: PLC0415
    from av import AudioFrame  # noqa: PLC0415
    from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection  # noqa: PLC0415

    # Offer no other address of this machine, and ask no server for one.
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])

    class Tone(AudioStreamTrack):
        """440 Hz at 48 kHz, 20 ms a frame, at the pace of speech."""

        at = 0

        async def recv(self) -> AudioFrame:
            await asyncio.sleep(0.02)
            phases = 2 * np.pi * 440 / 48_000 * np.arange(self.at, self.at + 960)
            self.at += 960
            frame = AudioFrame.from_ndarray((8000 * np.sin(phases)).astype(np.int16)[None], "s16", "mono")
            frame.sample_rate, frame.pts = 48_000, self.at
            frame.time_base = fractions.Fraction(1, 48_000)
            return frame

    browser = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = browser.createDataChannel("rtvi")
    types: set[str] = set()
    ready = json.dumps({"id": "1", "label": "rtvi-ai", "type": "client-ready", "data": {"version": "1.0.0"}})
    channel.on("open", lambda: channel.send(ready))
    channel.on("message", lambda text: types.add(json.loads(text).get("type", "")))
    browser.addTrack(Tone())
    heard: asyncio.Queue[object] = asyncio.Queue()
    browser.on("track", heard.put_nowait)
    await browser.setLocalDescription(await browser.createOffer())

    line = SmallWebRTCConnection([])
    await line.initialize(sdp=browser.localDescription.sdp, type=browser.localDescription.type)
    call = asyncio.create_task(bot.bot(SmallWebRTCRunnerArguments(webrtc_connection=line)))
    answer = line.get_answer()
    await line.connect()
    await browser.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
    track = await heard.get()
    loudest = 0
    async with asyncio.timeout(30):
        while loudest < 2000 or "bot-ready" not in types:  # the mirror's tone, once connected
            frame = await track.recv()  # type: ignore[attr-defined]
            loudest = max(loudest, int(np.abs(frame.to_ndarray()).max()))
    assert engine.running == 1
    await browser.close()
    await line.disconnect()
    async with asyncio.timeout(20):
        await call
    assert engine.running == 0
