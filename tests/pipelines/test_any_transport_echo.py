"""Whole calls on a transport of pipecat's base class, with PCM of 20 ms, whose phone has an echo."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame
from pipecat.tests.utils import SleepFrame, run_test

from benchmarks.no_echo import speaking
from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ, SAMPLE_RATE_HZ
from moshi_phone.records.call_audio import CallAudio
from moshi_phone.rehearse.playback import Playback
from moshi_phone.rehearse.room import Room
from moshi_phone.testing import FakeTransport, run_simulated
from pipelines.any_transport import any_transport
from pipelines.call_parts import CallParts
from processors.echo import EchoPath
from processors.recorder import Recorder
from processors.resampler import Resampling
from processors.tap import Tap
from tests.support.echoes import Floats, speech

SECS, FROM_S = 12, 5
PACKET_SAMPLES, PACKET_S = 160, 0.02
SILENCE = bytes([g711.SILENCE]) * PACKET_SAMPLES


def power_db(samples: Floats) -> float:
    return 10 * float(np.log10(np.mean(samples**2) + 1e-12))


def resampling(in_hz: int, out_hz: int) -> Callable[[bytes], bytes]:
    return bytes if in_hz == out_hz else Resampling(in_hz, out_hz).process


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [PHONE_RATE_HZ, SAMPLE_RATE_HZ])
def test_an_engine_does_not_hear_itself(rate_hz: int) -> None:
    """At 24 kHz, the list used to lack a canceller."""

    async def main() -> tuple[Floats, Floats]:
        engine, transport, echo = speaking(speech(SECS, pause_s=0.2)), FakeTransport(), EchoPath()
        await engine.start(lambda _: None)
        session, audio = engine.open_session(), CallAudio([echo])
        taps = [[Tap(Recorder(audio))] for _ in range(2)]
        parts = CallParts(transport, session, inbound_taps=taps[0], taps=taps[1], echo=echo, rate_hz=rate_hz)
        to_ear, from_mouth = resampling(rate_hz, PHONE_RATE_HZ), resampling(PHONE_RATE_HZ, rate_hz)
        said = b""

        async def phone() -> None:
            nonlocal said
            await asyncio.sleep(1)
            began_s = asyncio.get_running_loop().time()
            ear, room = Playback(began_s), Room(250, 15)
            for at in range(0, SECS * PHONE_RATE_HZ, PACKET_SAMPLES):
                now_s = began_s + at / PHONE_RATE_HZ + PACKET_S
                await asyncio.sleep(now_s - asyncio.get_running_loop().time())
                for frame in transport.sent_of(OutputAudioRawFrame):
                    ear.media(g711.encode(to_ear(frame.audio)), now_s)
                transport.sent.clear()
                packet = room.packet(SILENCE, ear, at)
                said += packet
                await transport.receive(InputAudioRawFrame(from_mouth(g711.decode(packet)), rate_hz, 1))

        await asyncio.gather(
            run_test(any_transport(parts), frames_to_send=[SleepFrame(SECS + 2)]),
            phone(),
        )
        heard = np.concatenate(list(session.heard))
        return pcm.to_float(g711.decode(said)), heard

    returned, heard = run_simulated(main())
    returned, heard = returned[FROM_S * PHONE_RATE_HZ :], heard[FROM_S * SAMPLE_RATE_HZ :]
    assert power_db(returned) > -50
    assert len(heard) > 6 * SAMPLE_RATE_HZ
    assert power_db(returned) - power_db(heard) >= 20
