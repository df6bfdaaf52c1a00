from __future__ import annotations

import asyncio

import numpy as np
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame, TextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.tests.utils import run_test

from moshi_phone.testing import FakeTransport, caller_frames, heard, run_simulated
from processors.frames import MulawInputFrame, MulawOutputFrame
from processors.mulaw import MulawDecoder

AUDIO = InputAudioRawFrame(bytes(320), 8_000, num_channels=1)


async def test_frames_pass_and_sent_ones_are_recorded() -> None:
    transport = FakeTransport()
    line = Pipeline([transport.input(), transport.output()])
    down, _ = await run_test(line, frames_to_send=[AUDIO, TextFrame("hello")])
    assert transport.sent_of(InputAudioRawFrame) == [AUDIO]
    assert [frame.text for frame in transport.sent_of(TextFrame)] == ["hello"]
    assert down == [AUDIO, *transport.sent_of(TextFrame)]


def test_a_frame_may_arrive_at_any_time() -> None:
    transport = FakeTransport()

    async def call() -> None:
        frames: list[Frame] = [*caller_frames(np.zeros(1_280, np.float32))]
        running = asyncio.ensure_future(
            run_test(Pipeline([transport.input(), MulawDecoder(), transport.output()]), frames_to_send=frames)
        )
        await asyncio.sleep(0.1)
        await transport.receive(MulawInputFrame(b"\x00" * 640))
        await running

    run_simulated(call())
    loudest = [
        np.abs(np.frombuffer(frame.audio, "<i2")).max() for frame in transport.sent_of(InputAudioRawFrame)
    ]
    assert [bool(value > 1_000) for value in loudest] == [False, False, True]


def test_a_caller_s_audio_is_paced_in_real_time_and_returned_as_samples() -> None:
    samples = np.linspace(-0.5, 0.5, 1_300, dtype=np.float32)
    frames = caller_frames(samples)
    assert [type(frame).__name__ for frame in frames] == ["MulawInputFrame", "SleepFrame"] * 2
    mulaw = [frame.mulaw for frame in frames if isinstance(frame, MulawInputFrame)]
    sent: list[Frame] = [MulawOutputFrame(piece) for piece in mulaw]
    assert np.abs(heard(sent) - samples[:1_280]).max() < 0.02
    assert heard([OutputAudioRawFrame(b"\x00\x40", 24_000, num_channels=1)]).tolist() == [0.5]
    assert heard([TextFrame("no sound")]).size == 0
