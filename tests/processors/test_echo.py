"""The stage in the list: silent until there is an echo, and then without it."""

from __future__ import annotations

import numpy as np
import pytest
from pipecat.frames.frames import InputAudioRawFrame, TextFrame
from pipecat.tests.utils import run_test

from moshi_phone.audio.echo_canceller import AcousticEchoCanceller
from moshi_phone.conversation.echo import EchoDetector
from moshi_phone.records.call_metrics import CallMetrics
from processors.echo import EchoCanceller, EchoMode, EchoPath
from tests.support.echoes import echo, on_the_phone, power_db, speech
from tests.support.logs import Logged

PACKET_SAMPLES = 640


async def through(
    mode: EchoMode, secs: float = 12, loss_db: float = 15
) -> tuple[np.ndarray, np.ndarray, CallMetrics]:
    """Give what goes into the stage and what comes out of it."""
    metrics = CallMetrics()
    path = EchoPath(mode, metrics)
    stage = EchoCanceller(path)
    bot = speech(secs)
    near = on_the_phone(echo(bot, 250, loss_db))
    both = np.stack((near, on_the_phone(bot)), axis=1)
    out = []
    for at in range(0, len(both), PACKET_SAMPLES):
        path.take(both[at : at + PACKET_SAMPLES])
        out.append(np.frombuffer(stage.clean(near[at : at + PACKET_SAMPLES].tobytes()), "<i2"))
    return near, np.concatenate(out), metrics


@pytest.mark.parametrize("mode", ["auto", "on"])
async def test_the_echo_goes(mode: EchoMode, logged: Logged) -> None:
    near, out, metrics = await through(mode)
    assert power_db(near[5 * 8000 :]) - power_db(out[5 * 8000 :]) >= 20
    assert metrics.echo is not None
    assert metrics.echo.delay_ms == pytest.approx(250, abs=20)
    assert metrics.echo_canceller_ms == 11
    assert metrics.echo_removed_db >= 20
    assert metrics.echo_listened_s >= 10
    assert 1 < metrics.echo_found_s < 5
    assert logged.text.count("it is cancelled") == 1


@pytest.mark.parametrize("frames_ahead", [1, 3])
async def test_the_canceller_starts_as_if_it_had_heard_everything(frames_ahead: int) -> None:
    """It gets the past only when an echo is found, also where the stage is some frames behind the tap."""
    path, detector, canceller = EchoPath(), EchoDetector(), AcousticEchoCanceller()
    stage = EchoCanceller(path)
    bot = speech(6)
    both = np.stack((on_the_phone(echo(bot, 250, 15)), on_the_phone(bot)), axis=1)
    frames = both[: len(both) // PACKET_SAMPLES * PACKET_SAMPLES].reshape(-1, PACKET_SAMPLES, 2)
    out, expected = [], []
    for number, frame in enumerate(frames):
        path.take(frame)
        detector.feed(frame)
        canceller.play(frame[:, 1])
        if detector.echo:
            canceller.start(detector.echo.delay_ms, detector.echo.loss_db)
        if number + 1 >= frames_ahead:
            near = frames[number + 1 - frames_ahead, :, 0]
            out.append(np.frombuffer(stage.clean(near.tobytes()), "<i2"))
            expected.append(canceller.process(near))
    assert path.is_cancelling
    assert np.array_equal(np.concatenate(out), np.concatenate(expected))


async def test_off_only_measures(logged: Logged) -> None:
    near, out, metrics = await through("off")
    assert (near == out).all()
    assert metrics.echo is not None
    assert metrics.echo_canceller_ms == 0
    assert "--echo-cancel off" in logged.text


def test_without_the_stage_the_log_says_what_to_do(logged: Logged) -> None:
    """As in a list for 24 kHz: before, the log said that the echo was cancelled."""
    path, bot = EchoPath(), speech(6)
    path.take(np.stack((on_the_phone(echo(bot, 250, 15)), on_the_phone(bot)), axis=1))
    assert "it is not cancelled: put an EchoCanceller into the list" in logged.text


async def test_without_an_echo_not_a_sample_changes() -> None:
    near, out, metrics = await through("auto", secs=6, loss_db=90)
    assert (near == out).all()
    assert metrics.echo is None


async def test_other_frames_and_formats_pass(logged: Logged) -> None:
    wide = InputAudioRawFrame(bytes(640), 16_000, 1)
    down, _ = await run_test(
        EchoCanceller(EchoPath("on")),
        frames_to_send=[wide, TextFrame("x"), InputAudioRawFrame(bytes(640), 16_000, 1)],
    )
    assert [type(frame) for frame in down] == [InputAudioRawFrame, TextFrame, InputAudioRawFrame]
    assert logged.text.count("EchoCanceller expects mono audio at 8000 Hz") == 1
