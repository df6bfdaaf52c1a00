"""The call's stages and taps on PCM at 16 kHz, as another pipecat transport gives it: no µ-law."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.tests.utils import SleepFrame, run_test

from moshi_phone.audio.formats import SAMPLE_RATE_HZ
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.records.call_audio import CallAudio
from moshi_phone.records.call_metrics import CallMetrics
from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.recording import Recording
from processors.meter import Meter
from processors.moshi import MoshiProcessor
from processors.playout import PlayoutGovernor
from processors.recorder import Recorder
from processors.resampler import Resampler
from processors.tap import Tap

RATE_HZ = 16_000
FRAMES = 12  # below a second, all that may lie in a buffer: they are sent faster than they sound


async def test_governor_meter_and_recorder_work_on_any_transport(tmp_path: Path) -> None:
    engine = ParrotEngine(delay_s=0)
    await engine.start(lambda _: None)
    session = engine.open_session()
    files = FileWriter()
    recording = CallAudio([Recording(tmp_path / "call.wav", files, RATE_HZ)], rate_hz=RATE_HZ)
    metrics = CallMetrics()
    line = Pipeline(
        [
            Tap(Recorder(recording)),
            Resampler(RATE_HZ, SAMPLE_RATE_HZ),
            MoshiProcessor(session),
            Resampler(SAMPLE_RATE_HZ, RATE_HZ),
            PlayoutGovernor(),
            Tap(Meter(metrics), Recorder(recording)),
        ]
    )
    seconds = np.arange(FRAMES * RATE_HZ * 80 // 1000) / RATE_HZ
    tone = (8_000 * np.sin(2 * np.pi * 440 * seconds)).astype("<i2")
    sent: list[Frame] = []
    for block in tone.reshape(FRAMES, -1):
        sent += [InputAudioRawFrame(block.tobytes(), RATE_HZ, num_channels=1), SleepFrame(0.01)]
    down, _ = await run_test(line, frames_to_send=sent)
    await session.close()
    heard = b"".join(frame.audio for frame in down if isinstance(frame, OutputAudioRawFrame))
    assert {frame.sample_rate for frame in down if isinstance(frame, OutputAudioRawFrame)} == {RATE_HZ}
    assert metrics.frames >= FRAMES - 1
    assert metrics.delay.count == metrics.frames
    assert metrics.stages["parrot"].count == FRAMES
    assert files.flush(5)
    sides, rate_hz = soundfile.read(tmp_path / "call.wav", dtype="int16")
    assert rate_hz == RATE_HZ
    assert np.array_equal(sides[: tone.size, 0], tone)
    lag = 2 * 12  # both resamplers, 0.75 ms
    answer = np.frombuffer(heard, "<i2")[lag:]
    assert np.abs(answer[200:].astype(int) - tone[200 : answer.size]).max() < 100
