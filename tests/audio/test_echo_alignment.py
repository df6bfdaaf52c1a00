"""A moved echo is found, by how many samples, and nothing else is taken for a move."""

from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio.echo_alignment import MAX_MOVE_SAMPLES, EchoAlignment
from tests.support.echoes import Floats, echo, speech

BLOCK = 160
SECS = 6.0


def moves(near: Floats, predicted: Floats) -> list[tuple[float, int]]:
    """Return the time and size of each move found, in seconds and samples."""
    alignment, found = EchoAlignment(), list[tuple[float, int]]()
    for at in range(0, len(near) - BLOCK + 1, BLOCK):
        if moved := alignment.add(near[at : at + BLOCK], predicted[at : at + BLOCK]):
            found.append((at / 8000, moved))
    return found


def returned(loss_db: float) -> Floats:
    return echo(speech(SECS, pause_s=0.2), 60, loss_db)


def moved_at(echoed: Floats, secs: float, samples: int) -> Floats:
    """Return an echo that comes later from a time on."""
    at = int(secs * 8000)
    return np.concatenate((echoed[:at], np.roll(echoed, samples)[at:]))


@pytest.mark.parametrize("samples", [1, -1, 3, -40, 150, -150, MAX_MOVE_SAMPLES])
def test_a_move_is_found_within_three_tenths_of_a_second(samples: int) -> None:
    echoed = returned(15)
    ((found_s, moved), *_) = moves(moved_at(echoed, 1.5, samples), echoed)
    assert moved == samples
    assert 1.5 < found_s < 1.8


@pytest.mark.parametrize("loss_db", [6, 15, 25])
def test_a_move_is_found_under_the_caller_s_voice(loss_db: float) -> None:
    echoed = returned(loss_db)
    near = moved_at(echoed, 1.5, 2) + speech(SECS, caller=True, pause_s=0.2) * (np.arange(len(echoed)) > 8000)
    ((found_s, moved), *_) = moves(near, echoed)
    assert moved == 2
    assert 1.5 < found_s < 2.0


@pytest.mark.parametrize("loss_db", [6, 15, 25])
def test_no_move_is_found_where_there_is_none(loss_db: float) -> None:
    echoed = returned(loss_db)
    assert moves(echoed, echoed) == []
    assert moves(echoed + speech(SECS, caller=True, pause_s=0.2), echoed) == []
    assert moves(speech(SECS, caller=True), echoed) == []


def test_silence_shows_nothing() -> None:
    assert moves(np.zeros(8000, np.float32), np.zeros(8000, np.float32)) == []
