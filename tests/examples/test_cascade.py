"""The example as in its docstring: a whole call over a real socket, with services on the loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import wave
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from examples.cascade import GREETING
from moshi_phone.audio import g711, pcm
from moshi_phone.engines import parrot
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.rehearse.playback import Playback
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from tests.fakes.openai_voice import fake_voice
from tests.processors.simulated_line import loud_s, tone
from tests.support.phone import Phone, serving

PACKET_S = 0.02
ANSWER_S = 4.0
WAIT_S = 30.0


def question() -> NDArray[np.float32]:
    """A spoken clip, 8 kHz: the parrot's greeting."""
    voice, rate_hz = soundfile.read(Path(parrot.__file__).with_name("parrot_greeting.flac"), dtype="float32")
    assert rate_hz == 24_000
    at_8_khz: NDArray[np.float32] = voice[: voice.size // 3 * 3 : 3].astype(np.float32)
    return at_8_khz


async def say(phone: Phone, samples: NDArray[np.float32]) -> None:
    """Speak in real time: a voice detector and an end of turn count seconds."""
    loop = asyncio.get_running_loop()
    mulaw, due_s = g711.encode(pcm.to_bytes(samples)), loop.time()
    for at in range(0, len(mulaw) - 159, 160):
        await phone.say(mulaw[at : at + 160])
        due_s += PACKET_S
        await asyncio.sleep(max(0.0, due_s - loop.time()))


@pytest.mark.slow
async def test_a_question_is_answered_and_the_whole_answer_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """It used to be 1.3 s of 4, with the caller's own voice under them."""
    speech = pcm.to_bytes(tone(ANSWER_S, 24_000))
    with fake_voice("How late is it?", "It is nine.", speech) as voice:
        monkeypatch.setenv("CASCADE_BASE_URL", voice.url)
        options = ServerOptions(pipeline="examples.cascade:cascade")
        state = ServerState(ParrotEngine(), Settings(server=options))
        async with serving(state) as address, Phone.calling(address) as phone:
            loop = asyncio.get_running_loop()
            playback = Playback(loop.time())

            async def hear() -> None:
                async for text in phone.socket:
                    message = json.loads(text)
                    if message["event"] == "media":
                        playback.media(base64.b64decode(message["media"]["payload"]), loop.time())
                    elif message["event"] == "clear":
                        playback.clear(loop.time())

            ear = asyncio.ensure_future(hear())
            silence = np.zeros(8_000, np.float32)
            answer_s = np.zeros(round(8_000 * (ANSWER_S + 1)), np.float32)
            async with asyncio.timeout(WAIT_S):
                while not voice.spoken:
                    await say(phone, silence[:800])
            await say(phone, answer_s)
            heard_before_s = loud_s(heard(playback))
            await say(phone, np.concatenate((question(), silence, silence)))
            async with asyncio.timeout(WAIT_S):
                while len(voice.spoken) < 2:
                    await say(phone, silence[:800])
            await say(phone, answer_s)
            ear.cancel()
        assert heard_before_s == pytest.approx(ANSWER_S, abs=0.2)
        # Both answers, whole, and none of the question.
        assert loud_s(heard(playback)) == pytest.approx(2 * ANSWER_S, abs=0.4)
        assert [text.strip() for text in voice.spoken] == [GREETING, "It is nine."]
        with wave.open(BytesIO(voice.recordings[0])) as file:
            assert file.getframerate() == 8_000
        messages = [(one["role"], one["content"]) for one in voice.requests[1]["messages"]]
        assert messages[-1] == ("user", "How late is it?")
        assert ("assistant", GREETING) in messages


def heard(playback: Playback) -> NDArray[np.float32]:
    mulaw = playback.heard(asyncio.get_running_loop().time()).tobytes()
    return pcm.to_float(g711.decode(mulaw))
