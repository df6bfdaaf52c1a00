from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pipecat.frames.frames import FilterEnableFrame, MixerEnableFrame
from pipecat.pipeline.worker import PipelineWorker
from pipecat.transports.base_transport import TransportParams

from processors.guarded_audio import guard_audio
from processors.twilio import TwilioTransport
from tests.processors.audio_parts import Filter, Mixer, Process
from tests.processors.pipecat_line import TWO, Talker, phone_line
from tests.processors.simulated_line import PhoneSocket, call, loud_s, tone
from tests.support.logs import Logged


def broken(_: bytes) -> bytes:
    raise RuntimeError("the model is missing")


FAULTS: list[Process] = [broken, lambda _: None, lambda audio: audio[:-1]]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_passes_the_audio_and_is_logged_once(fault: Process, logged: Logged) -> None:
    audio_filter, mixer = Filter(fault), Mixer(fault)
    params = guard_audio(TransportParams(audio_in_filter=audio_filter, audio_out_mixer={None: mixer}))
    guarded: Any = params.audio_in_filter
    mixing: Any = params.audio_out_mixer
    for _ in range(2):
        assert await guarded.filter(b"\1\2\3\4") == b"\1\2\3\4"
        assert await mixing.mix(b"\1\2\3\4") == b"\1\2\3\4"
    assert logged.text.count("Filter failed, and the audio passes unchanged") == 1
    assert logged.text.count("Mixer failed, and the audio passes unchanged") == 1
    audio_filter.process = mixer.process = lambda audio: audio[:2]
    assert await guarded.filter(b"\1\2\3\4") == await mixing.mix(b"\1\2\3\4") == b"\1\2"


async def test_all_else_is_the_user_s_own() -> None:
    parts: list[Any] = [Filter(bytes), Mixer(bytes)]
    params = guard_audio(TransportParams(audio_out_filter=parts[0], audio_out_mixer=parts[1]))
    guarded: list[Any] = [params.audio_out_filter, params.audio_out_mixer]
    for part, guard, frame in zip(
        parts, guarded, [FilterEnableFrame(enable=False), MixerEnableFrame(enable=False)], strict=True
    ):
        await guard.start(8_000)
        await guard.process_frame(frame)
        await guard.stop()
        assert part.calls == [8_000, frame, "stop"]
    assert guard_audio(TransportParams()).audio_in_filter is None


@pytest.mark.parametrize("part", ["audio_in_filter", "audio_out_filter", "audio_out_mixer"])
def test_a_call_goes_on_without_its_broken_filter(part: str, logged: Logged) -> None:
    """Nothing was heard any longer; the caller's filter stopped the reader, and a hang-up was not noticed."""
    sockets: list[PhoneSocket] = []
    gone_s: list[float] = []
    session = Talker()

    async def hang_up(worker: PipelineWorker, transport: TwilioTransport) -> None:
        async def gone(*_: object) -> None:
            gone_s.append(asyncio.get_running_loop().time())

        transport.add_event_handler("on_client_disconnected", gone)
        await asyncio.sleep(3.5)
        sockets[0].hang_up()

    given: Any = {part: Mixer(broken) if part == "audio_out_mixer" else Filter(broken)}
    heard, _ = call(
        lambda t: phone_line(t, session),
        0.5,
        tone(3, 8_000),
        script=hang_up,
        params=TransportParams(**given),
        on_socket=sockets.append,
    )
    assert loud_s(heard) == TWO
    assert len(session.fed) > 40
    assert gone_s == [pytest.approx(3.5, abs=0.1)]
    assert logged.text.count("failed, and the audio passes unchanged") == 1
