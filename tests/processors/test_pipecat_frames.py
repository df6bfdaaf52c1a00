"""pipecat's frames at the list's stages: words to say, interruptions, settings, keys, messages, turns."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    ClientConnectedFrame,
    Frame,
    InterruptionFrame,
    LLMUpdateSettingsFrame,
    OutputDTMFFrame,
    OutputDTMFUrgentFrame,
    OutputImageRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    SpriteFrame,
    TTSSpeakFrame,
    UserImageRequestFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.services.settings import LLMSettings

from moshi_phone.engines.duplex import DuplexSession
from moshi_phone.testing.engine import FakeSession
from processors.moshi import MoshiProcessor
from processors.mulaw import MulawDecoder, MulawEncoder
from processors.resampler import Resampler
from processors.twilio import TwilioTransport
from tests.processors.passing import Passing
from tests.processors.pipecat_line import HEARS, TWO, Talker, phone_line, strength
from tests.processors.simulated_line import PhoneSocket, call, loud_s
from tests.support.logs import Logged


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


def test_an_interruption_drops_waiting_words() -> None:
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


def test_settings_are_updated(logged: Logged) -> None:
    session = Talker()
    moshi = MoshiProcessor(session, settings=MoshiProcessor.Settings(temperature=0.8, voice="moshiko"))
    delta = LLMSettings(temperature=0.3, system_instruction="You are a pirate.", max_tokens=5)
    call(
        lambda t: phone_line(t, moshi),
        2,
        script=lambda worker, _: _queue(worker, LLMUpdateSettingsFrame(delta=delta)),
    )
    assert session.temperature == 0.3
    request = moshi.settings.request()
    assert (request.temperature, request.persona, request.voice) == (0.3, "You are a pirate.", "moshiko")
    assert "system_instruction applies from the next call" in logged.text
    assert "max_tokens has no effect on this engine" in logged.text  # it was to apply from the next call


@pytest.mark.parametrize("kind", [OutputDTMFFrame, OutputDTMFUrgentFrame])
def test_keys_are_heard_as_their_tones(kind: Any) -> None:
    """Twilio's stream has no message for them; a menu at the other end still hears the tones."""
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
def test_application_messages_are_logged_once(kind: Any, logged: Logged) -> None:
    messages = [kind(message={"n": n}) for n in range(5)]
    heard, _ = call(lambda t: phone_line(t, Talker()), 4, script=lambda worker, _: _queue(worker, *messages))
    assert loud_s(heard) == TWO
    assert logged.text.count("messages of an application") == 1


def test_images_are_logged_once(logged: Logged) -> None:
    image = OutputImageRawFrame(bytes(12), (2, 2), "RGB")
    frames = [image, SpriteFrame([image]), image]
    heard, _ = call(lambda t: phone_line(t, Talker()), 4, script=lambda worker, _: _queue(worker, *frames))
    assert loud_s(heard) == TWO
    assert logged.text.count("images are not sent") == 1


def test_a_request_for_the_caller_s_image_is_answered() -> None:
    """The function call that made it never finished: a phone has no camera, and nothing said so."""
    answers: list[object] = []

    async def answer(result: object) -> None:
        answers.append(result)

    async def ask(worker: PipelineWorker, transport: TwilioTransport) -> None:
        await asyncio.sleep(0.5)
        request = UserImageRequestFrame("caller", result_callback=answer)
        await transport.output().push_frame(request, FrameDirection.UPSTREAM)

    call(lambda t: phone_line(t, Talker()), 0.5, script=ask)
    assert answers == [{"error": "A phone call has no camera."}]


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
def test_a_missing_stage_is_logged_once(
    kind: type[FrameProcessor], nth: int, told: str, secs: float, logged: Logged
) -> None:
    heard, _ = call(without(kind, nth), 5)
    assert logged.text.count(told) == 1
    assert loud_s(heard) == pytest.approx(secs, abs=0.2)


def test_pipecat_s_serializer_is_not_for_this_transport() -> None:
    """The call started, and a failed reading task left it silent."""
    serializer: Any = TwilioFrameSerializer(
        "MZ1", params=TwilioFrameSerializer.InputParams(auto_hang_up=False)
    )
    socket: Any = object()
    with pytest.raises(TypeError, match="got TwilioFrameSerializer: pipecat's serializers belong into"):
        TwilioTransport(socket, serializer)


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


def test_turn_frames_are_pushed_both_ways() -> None:
    before, after = Passing(), Passing()
    call(lambda t: phone_line(t, Talker(hears=HEARS), before=[before], after_moshi=[after]), 8)
    for seen in (before, after):
        kinds = [
            type(one)
            for one in seen.frames
            if isinstance(one, (UserStartedSpeakingFrame, UserStoppedSpeakingFrame))
        ]
        assert kinds == [UserStartedSpeakingFrame, UserStoppedSpeakingFrame] * 2
