"""The stage in the list: transparent until there is an echo, and cancelling from then on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from pipecat.frames.frames import InputAudioRawFrame, TextFrame
from pipecat.tests.utils import run_test
from pystoi import stoi

from moshi_phone.audio import pcm
from moshi_phone.audio.echo_canceller import AcousticEchoCanceller
from moshi_phone.conversation.echo import EchoDetector
from moshi_phone.engines.parrot import GREETING_FILE
from moshi_phone.records.call_metrics import CallMetrics
from moshi_phone.rehearse.clip import CALLER_FILE
from processors.echo import EchoCanceller, EchoMode, EchoPath
from processors.resampler import Resampling
from tests.support.echoes import Floats, echo, on_the_phone, power_db, speech
from tests.support.logs import Logged

PACKET_SAMPLES = 640


async def through(
    mode: EchoMode, secs: float = 12, loss_db: float = 15
) -> tuple[np.ndarray, np.ndarray, CallMetrics]:
    """Return the input and the output of the stage."""
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
async def test_the_echo_is_cancelled(mode: EchoMode, logged: Logged) -> None:
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
async def test_the_canceller_starts_with_the_past_audio(frames_ahead: int) -> None:
    """It gets the past only when an echo is found, even if the stage is some frames behind the tap."""
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


def test_without_the_stage_the_log_names_the_remedy(logged: Logged) -> None:
    """As in a list for 24 kHz: the log used to say that the echo was cancelled."""
    path, bot = EchoPath(), speech(6)
    path.take(np.stack((on_the_phone(echo(bot, 250, 15)), on_the_phone(bot)), axis=1))
    assert "it is not cancelled: put an EchoCanceller into the list" in logged.text


async def test_without_an_echo_no_sample_changes() -> None:
    near, out, metrics = await through("auto", secs=6, loss_db=90)
    assert (near == out).all()
    assert metrics.echo is None


def wide_speech(path: Path, secs: float, rate_hz: int) -> Floats:
    samples, from_hz = soundfile.read(path, dtype="float32")
    return np.resize(0.5 * soxr.resample(samples, from_hz, rate_hz), int(secs * rate_hz))


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [16_000, 24_000])
def test_the_echo_is_cancelled_at_other_rates_than_the_phone_s(rate_hz: int) -> None:
    """The bot speaks for 12 s, the caller from 6 to 9. The stage used to pass such audio unchanged."""
    bot, rng = wide_speech(GREETING_FILE, 12, rate_hz), np.random.default_rng(1)
    at_s = np.arange(len(bot)) / rate_hz
    voice = wide_speech(CALLER_FILE, 12, rate_hz) * ((at_s >= 6) & (at_s < 9))
    taps = np.arange(rate_hz * 80 // 1000)
    room = rng.standard_normal(len(taps)) * np.exp(-6.9 * taps / len(taps))
    late = np.zeros(rate_hz * 250 // 1000)
    returned = np.convolve(bot, np.concatenate((late, 10 ** (-12 / 20) * room / np.linalg.norm(room))))
    heard, said = (
        np.frombuffer(pcm.to_bytes(side.astype(np.float32)), "<i2")
        for side in (bot, voice + returned[: len(bot)])
    )
    metrics = CallMetrics()
    path = EchoPath("auto", metrics)
    stage, unchanged, out = EchoCanceller(path), 0, b""
    tap = [Resampling(rate_hz, 8_000) for _ in range(2)]
    for at in range(0, len(said), rate_hz // 50):
        frame, bots = (side[at : at + rate_hz // 50].tobytes() for side in (said, heard))
        both = [tap[0].process(frame), tap[1].process(bots)]
        path.take(np.stack([np.frombuffer(side, "<i2") for side in both], axis=1))
        cleaned = stage.clean(frame, rate_hz)
        unchanged += cleaned is frame
        out += cleaned
    clean = pcm.to_float(out)[round(0.014 * rate_hz) :]
    assert metrics.echo_canceller_ms == pytest.approx(14, abs=0.1)
    assert 50 <= unchanged <= 250  # nothing before the echo was found
    alone = slice(int(9.5 * rate_hz), len(clean))
    echo_power, left = (np.mean(side[alone] ** 2) for side in (pcm.to_float(said.tobytes()), clean))
    assert 10 * np.log10(echo_power / left) >= 20
    speaks = slice(6 * rate_hz, 9 * rate_hz)
    assert stoi(voice[speaks], clean[speaks], rate_hz) >= 0.95


async def test_other_frames_and_formats_pass(logged: Logged) -> None:
    stereo = [InputAudioRawFrame(bytes(640), 16_000, 2) for _ in range(2)]
    down, _ = await run_test(
        EchoCanceller(EchoPath("on")), frames_to_send=[stereo[0], TextFrame("x"), stereo[1]]
    )
    assert [type(frame) for frame in down] == [InputAudioRawFrame, TextFrame, InputAudioRawFrame]
    assert logged.text.count("EchoCanceller expects mono audio, got 2 channels") == 1
