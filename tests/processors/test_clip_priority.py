"""Moshi and a clip on pipecat's own output queue, in simulated time: nothing becomes late."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.audio.dtmf.utils import load_dtmf_audio
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputDTMFFrame,
    StartFrame,
    TTSAudioRawFrame,
)
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.workers.runner import WorkerRunner

from moshi_phone.audio import pcm
from moshi_phone.testing import FakeSession, run_simulated
from pipelines.any_transport import any_transport
from pipelines.call_parts import CallParts
from tests.processors.simulated_line import tone

RATE_HZ, FRAME_S = 24_000, 0.08
BEEP, SILENCE = pcm.to_bytes(tone(FRAME_S, RATE_HZ) * np.float32(2.5)), bytes(3_840)


def now_s() -> float:
    return asyncio.get_running_loop().time()


class Output(BaseOutputTransport):
    """Plays in real time, and records when which loudness was played."""

    def __init__(self, params: TransportParams) -> None:
        super().__init__(params)
        self.played: list[tuple[float, int]] = []

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self.played.append((now_s(), int(np.abs(np.frombuffer(frame.audio, "<i2")).max())))
        await asyncio.sleep(frame.num_frames / frame.sample_rate)
        return True


class Input(BaseInputTransport):
    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)


class Transport(BaseTransport):
    def __init__(self) -> None:
        super().__init__()
        params = TransportParams(audio_in_enabled=True, audio_out_enabled=True, audio_out_end_silence_secs=0)
        self._ends = Input(params), Output(params)

    def input(self) -> Input:
        return self._ends[0]

    def output(self) -> Output:
        return self._ends[1]


def beeps_heard(secs: float, given: dict[float, Frame]) -> tuple[list[float], float]:
    """Call a mirror with a beep every two seconds; give when beeps are played, and for how long a clip."""

    async def main() -> tuple[list[float], float]:
        transport = Transport()
        parts = CallParts(transport, FakeSession(), rate_hz=RATE_HZ)
        worker = parts.worker(any_transport(parts))
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)

        async def talk() -> None:
            waiting = dict(given)
            await asyncio.sleep(0.01)  # until the pipeline has started
            for n in range(round(secs / FRAME_S)):
                audio = BEEP if n % 25 == 0 else SILENCE  # 25 frames of 80 ms
                await transport.input().push_audio_frame(InputAudioRawFrame(audio, RATE_HZ, 1))
                for at_s in [at_s for at_s in waiting if at_s <= n * FRAME_S]:
                    await worker.queue_frame(waiting.pop(at_s))
                await asyncio.sleep(FRAME_S)
            await worker.queue_frame(EndFrame())

        talking = asyncio.ensure_future(talk())
        async with asyncio.timeout(secs + 20):
            await asyncio.gather(runner.run(), talking)
        played = transport.output().played
        starts = [
            at_s
            for (at_s, loud), (_, before) in zip(played[1:], played, strict=False)
            if loud > 15_000 > before
        ]
        return starts, 0.04 * sum(5_000 < loud < 15_000 for _, loud in played)

    return run_simulated(main())


CLIP = TTSAudioRawFrame(pcm.to_bytes(tone(1.9, RATE_HZ)), RATE_HZ, 1)


KEYS = OutputDTMFFrame(buttons=[KeypadEntry.ONE, KeypadEntry.TWO])  # half a second each


@pytest.mark.parametrize(
    ("given", "expected", "clip_heard_s"),
    [
        ({}, [2, 4, 6, 8, 10], 0),
        ({4.5: CLIP}, [2, 4, 8, 10], 1.9),  # it plays at 6 s
        ({4.5: CLIP, 5.0: InterruptionFrame()}, [2, 4, 6, 8, 10], 0.5),
        ({4.5: KEYS}, [2, 4, 6, 8, 10], None),
    ],
)
def test_speech_after_a_clip_is_on_time(
    given: dict[float, Frame], expected: list[float], clip_heard_s: float | None
) -> None:
    """It was late by the clip's length, for the rest of the call."""
    for key in KEYS.buttons or ():  # from files, by a thread: simulated time would run on
        asyncio.run(load_dtmf_audio(key, sample_rate=RATE_HZ))
    starts, clip_s = beeps_heard(11, given)
    assert starts == pytest.approx(expected, abs=0.25)
    assert clip_heard_s is None or clip_s == pytest.approx(clip_heard_s, abs=0.15)
