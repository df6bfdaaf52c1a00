"""The canceller removes the echo and keeps the caller's voice, without a click when it is switched on."""

from __future__ import annotations

import numpy as np
import pytest
from pystoi import stoi

from benchmarks.echo import echo_less_db
from moshi_phone.audio.echo_canceller import DELAY_MS, AcousticEchoCanceller
from tests.support.echoes import Floats, echo, on_the_phone, power_db, silence, speech

SECS = 14.0


def cleaned(caller: Floats, bot: Floats, delay_ms: float, loss_db: float = 12, size: int = 640) -> np.ndarray:
    canceller, out = AcousticEchoCanceller(), []
    near, far = on_the_phone(caller), on_the_phone(bot)
    for at in range(0, len(near), size):
        if at >= 8000 * 2:
            canceller.start(delay_ms, loss_db)
        canceller.play(far[at : at + size])
        out.append(canceller.process(near[at : at + size]))
    assert canceller.is_on
    return np.concatenate(out)


@pytest.mark.cpu_bound
@pytest.mark.parametrize("delay_ms", [60, 250, 600])
@pytest.mark.parametrize("loss_db", [6, 25])
def test_the_echo_is_attenuated_by_at_least_20_db(delay_ms: float, loss_db: float) -> None:
    bot = speech(SECS)
    returned = echo(bot, delay_ms, loss_db)
    after = cleaned(returned, bot, delay_ms, loss_db)[5 * 8000 :]
    assert power_db(on_the_phone(returned)[5 * 8000 :]) - power_db(after) >= 20


@pytest.mark.cpu_bound
@pytest.mark.parametrize("delay_ms", [60, 600])
@pytest.mark.parametrize(("loss_db", "at_least"), [(6, 0.95), (25, 0.98)])
def test_the_caller_s_speech_is_kept(delay_ms: float, loss_db: float, at_least: float) -> None:
    """Both speak for four of six seconds, for two of them at once."""
    turn = np.arange(20 * 8000) % (6 * 8000)
    bot = speech(20, pause_s=0.2) * (turn < 4 * 8000)
    caller = speech(20, caller=True, pause_s=0.2) * ((turn >= 3 * 8000) | (turn < 1 * 8000))
    after = cleaned(caller + echo(bot, delay_ms, loss_db), bot, delay_ms, loss_db)
    late = round(DELAY_MS * 8)
    said, heard = on_the_phone(caller)[5 * 8000 : -late], after[5 * 8000 + late :]
    assert stoi(said / 32768, heard / 32768, 8000) >= at_least


@pytest.mark.cpu_bound
@pytest.mark.parametrize("bot_s", [4, 6], ids=["in turns", "without a pause"])
def test_the_attenuation_is_measured_during_double_talk(bot_s: float) -> None:
    """Blocks with the caller's voice used to count as residual echo: 14 in place of 30 dB."""
    turn = np.arange(20 * 8000) % (6 * 8000)
    bot = speech(20, pause_s=0.2) * (turn < bot_s * 8000)
    caller = speech(20, caller=True, pause_s=0.2) * ((turn >= (bot_s - 1) % 5 * 8000) | (turn < 1 * 8000))
    returned, canceller = echo(bot, 150, 15), AcousticEchoCanceller()
    near, far = on_the_phone(caller + returned), on_the_phone(bot)
    canceller.start(150, 15)
    out, filtered = [], []
    for at in range(0, len(near), 640):
        canceller.play(far[at : at + 640])
        out.append(canceller.process(near[at : at + 640]))
        filtered.append(canceller.filtered)
    late = round(DELAY_MS * 8)
    after = np.concatenate(out)[late:] / 32768
    sides: list[np.ndarray] = [near / 32768, returned, np.concatenate(filtered), after]
    last = slice(10 * 8000, len(after))
    removed_db = echo_less_db(*(side[last].astype(np.float64) for side in sides))
    # Too low rather than too high: between the words of a caller who never pauses, a weak voice remains.
    assert removed_db - 10 < canceller.removed_db < removed_db + 6


@pytest.mark.cpu_bound
def test_a_loudspeaker_s_distortion_is_removed_too() -> None:
    """The linear filter alone cannot remove it."""
    bot = speech(SECS)
    returned = (np.tanh(4 * echo(bot, 250, 10)) / 4).astype(np.float32)
    after = cleaned(returned, bot, 250)[5 * 8000 :]
    assert power_db(on_the_phone(returned)[5 * 8000 :]) - power_db(after) >= 20


@pytest.mark.cpu_bound
def test_the_filter_adapts_to_a_shifted_echo() -> None:
    bot = speech(20)
    returned = np.concatenate((echo(bot, 250, 15)[: 10 * 8000], echo(bot, 270, 15)[10 * 8000 :]))
    canceller, out = AcousticEchoCanceller(), []
    near, far = on_the_phone(returned), on_the_phone(bot)
    canceller.start(250)
    for at in range(0, len(near), 640):
        canceller.play(far[at : at + 640])
        out.append(canceller.process(near[at : at + 640]))
    after = np.concatenate(out)[15 * 8000 :]
    assert power_db(near[15 * 8000 :]) - power_db(after) >= 20
    assert canceller.removed_db >= 20


def test_samples_are_unchanged_until_it_is_switched_on() -> None:
    canceller = AcousticEchoCanceller()
    samples = on_the_phone(speech(1, caller=True))
    canceller.play(samples)
    assert canceller.process(samples) is samples
    assert not canceller.is_on


def test_no_click_when_it_is_switched_on() -> None:
    tone = (0.3 * np.sin(2 * np.pi * 300 * np.arange(int(SECS * 8000)) / 8000)).astype(np.float32)
    after = cleaned(tone, silence(SECS), 100).astype(float)
    around = np.abs(np.diff(after))[int(2.9 * 8000) : int(3.2 * 8000)]
    assert around.max() < 1.5 * np.abs(np.diff(on_the_phone(tone).astype(float))).max()


def test_blocks_of_any_length_are_accepted() -> None:
    bot = speech(SECS)
    returned = echo(bot, 150, 15)
    after = cleaned(returned, bot, 150, size=1001)
    assert abs(len(after) - len(returned)) < 160
    assert power_db(on_the_phone(returned)[5 * 8000 :]) - power_db(after[5 * 8000 :]) >= 20


def test_audio_played_a_second_ahead_is_accepted() -> None:
    """A tap may receive a second of audio before the canceller processes any."""
    canceller, bot = AcousticEchoCanceller(), on_the_phone(speech(4))
    canceller.play(bot)
    canceller.process(bot[:640])
    canceller.play(bot)
    canceller.start(850)
    assert len(canceller.process(bot)) == len(bot)
