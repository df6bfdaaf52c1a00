"""The stage in the list: silent until there is an echo, and then without it."""

from __future__ import annotations

import numpy as np
import pytest
from pipecat.frames.frames import InputAudioRawFrame, TextFrame
from pipecat.tests.utils import run_test

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
    assert logged.text.count("it is cancelled") == 1


async def test_off_only_measures(logged: Logged) -> None:
    near, out, metrics = await through("off")
    assert (near == out).all()
    assert metrics.echo is not None
    assert metrics.echo_canceller_ms == 0
    assert "--echo-cancel off" in logged.text


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
