"""The linear filter learns from the past, and follows a shifted echo; simulated on the caller's time line."""

from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio.linear_canceller import LinearCanceller
from tests.support.echoes import Floats, echo, on_the_phone, speech

SECS = 8.0
FRAME = 640
TURN = np.arange(int(SECS * 8000)) % (4 * 8000)


def rest_of(returned: Floats, caller: Floats, bot: Floats, delay_ms: float = 60) -> Floats:
    """Return the residual echo."""
    canceller, blocks = LinearCanceller(), list[Floats]()
    near, far = on_the_phone(returned + caller), on_the_phone(bot)
    for at in range(0, len(near), FRAME):
        frame = near[at : at + FRAME]
        canceller.play(far[at : at + FRAME])
        if at < 3 * 8000:
            canceller.keep(frame)
            blocks.append((frame / 32768).astype(np.float32))
        else:
            canceller.start(delay_ms, 25)
            blocks += [block.rest for block in canceller.process(frame)]
    return (np.concatenate(blocks) - near / 32768 + returned).astype(np.float32)


def moved(returned: Floats, at_s: float, samples: int) -> Floats:
    """Return an echo that is delayed from a given time on."""
    at = int(at_s * 8000)
    return np.concatenate((returned[:at], np.roll(returned, samples)[at:]))


def less_db(returned: Floats, rest: Floats, from_s: float) -> float:
    begin = int(from_s * 8000)
    return 10 * float(np.log10(np.sum(returned[begin:] ** 2) / np.sum(rest[begin:] ** 2)))


@pytest.mark.parametrize(("at_s", "samples"), [(1.7, 3), (2.6, 19), (4.8, 3), (5.5, 150)])
def test_a_shifted_echo_is_removed_while_the_caller_speaks(at_s: float, samples: int) -> None:
    """A shift within the learnt part used to blur the filter; a later one did until it was found."""
    bot = speech(SECS, pause_s=0.2)
    caller = speech(SECS, caller=True, pause_s=0.2) * (TURN > 2 * 8000)
    returned = moved(echo(bot, 60, 25), at_s, samples)
    assert less_db(returned, rest_of(returned, caller, bot), 4.0) >= 20


def test_the_filter_catches_up_within_half_a_second() -> None:
    bot = speech(SECS, pause_s=0.2)
    returned = echo(bot, 60, 15)
    rest = rest_of(returned, 0 * bot, bot)
    assert less_db(returned, rest, 3.5) >= 25


def test_blocks_before_the_start_are_rejected() -> None:
    with pytest.raises(RuntimeError, match="expected start before process"):
        LinearCanceller().process(np.zeros(160, np.int16))


def test_an_echo_shifted_by_up_to_60_ms_is_found_again() -> None:
    """After a long stall, the time line is wrong by up to 60 ms, in either direction."""
    bot = speech(SECS, pause_s=0.2)
    for samples in (-300, 400):
        returned = moved(echo(bot, 150, 15), 4.8, samples)
        assert less_db(returned, rest_of(returned, 0 * bot, bot, 150), 5.5) >= 20
