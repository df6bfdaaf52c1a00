"""The filter adapts to an echo, also during double talk, and does not change the caller's voice."""

from __future__ import annotations

import numpy as np

from moshi_phone.audio.echo_filter import BLOCK_SAMPLES, WINDOW_SAMPLES, EchoFilter
from tests.support.echoes import Floats, echo, speech

SECS = 10.0


def filtered(near: Floats, far: Floats) -> Floats:
    learnt, padded = EchoFilter(loss_db=6), np.pad(far, (WINDOW_SAMPLES - BLOCK_SAMPLES, 0))
    blocks = (
        learnt.process(near[at : at + BLOCK_SAMPLES], padded[at : at + WINDOW_SAMPLES]).rest
        for at in range(0, len(near), BLOCK_SAMPLES)
    )
    return np.concatenate(list(blocks))


def power_db(samples: Floats) -> float:
    return 10 * float(np.log10(np.mean(samples[4 * 8000 :] ** 2) + 1e-12))


def test_the_echo_is_removed_and_the_caller_is_kept() -> None:
    bot, caller = speech(SECS), speech(SECS, caller=True, pause_s=0.2)
    returned = echo(bot, 60, 6)
    assert power_db(returned) - power_db(filtered(returned, bot)) > 25
    assert power_db(returned) - power_db(filtered(returned + caller, bot) - caller) > 20


def test_without_an_echo_hardly_anything_changes() -> None:
    caller = speech(SECS, caller=True)
    assert power_db(caller) - power_db(filtered(caller, speech(SECS)) - caller) > 15


def test_a_filter_that_amplifies_is_reset() -> None:
    bot = speech(SECS)
    returned = np.concatenate((echo(bot, 60, 6)[: 5 * 8000], -echo(bot, 60, 6)[5 * 8000 :]))
    after = filtered(returned, bot)
    assert power_db(returned[4 * 8000 :]) - power_db(after[4 * 8000 :]) > 20
