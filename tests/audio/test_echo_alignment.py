"""Shifts of an echo are found, with their size in samples, and nothing else is reported as a shift."""

from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio.echo_alignment import MAX_MOVE_SAMPLES, EchoAlignment, past_moves
from tests.support.echoes import Floats, echo, speech

BLOCK = 160
SECS = 6.0


def moves(near: Floats, predicted: Floats) -> list[tuple[float, int]]:
    """Return the time and size of each move found, in seconds and samples."""
    alignment, found = EchoAlignment(), list[tuple[float, int]]()
    for at in range(0, len(near) - BLOCK + 1, BLOCK):
        if moved := alignment.add(near[at : at + BLOCK], predicted[at : at + BLOCK]):
            found.append((at / 8000, moved.samples))
    return found


def returned(loss_db: float) -> Floats:
    return echo(speech(SECS, pause_s=0.2), 60, loss_db)


def moved_at(echoed: Floats, secs: float, samples: int) -> Floats:
    """Return an echo that is delayed from a given time on."""
    at = int(secs * 8000)
    return np.concatenate((echoed[:at], np.roll(echoed, samples)[at:]))


@pytest.mark.parametrize("samples", [1, -1, 3, -40, 150, MAX_MOVE_SAMPLES])
def test_a_shift_is_found_within_100_ms(samples: int) -> None:
    echoed = returned(15)
    ((found_s, moved), *_) = moves(moved_at(echoed, 1.5, samples), echoed)
    assert moved == samples
    assert 1.5 <= found_s < 1.6


@pytest.mark.parametrize("loss_db", [6, 15, 25])
def test_a_shift_is_found_while_the_caller_speaks(loss_db: float) -> None:
    echoed = returned(loss_db)
    near = moved_at(echoed, 1.5, 2) + speech(SECS, caller=True, pause_s=0.2) * (np.arange(len(echoed)) > 8000)
    ((found_s, moved), *_) = moves(near, echoed)
    assert moved == 2
    assert 1.5 <= found_s < 1.7


@pytest.mark.parametrize("loss_db", [6, 15, 25])
def test_no_shift_is_found_in_a_steady_echo(loss_db: float) -> None:
    echoed = returned(loss_db)
    assert moves(echoed, echoed) == []
    assert moves(echoed + speech(SECS, caller=True, pause_s=0.2), echoed) == []
    assert moves(speech(SECS, caller=True), echoed) == []


def test_silence_gives_no_shift() -> None:
    assert moves(np.zeros(8000, np.float32), np.zeros(8000, np.float32)) == []


def test_a_past_shift_is_found_by_the_current_prediction() -> None:
    """The caller's voice is louder than the echo here."""
    echoed = returned(15)
    earlier = moved_at(np.roll(echoed, -22), 1.0, 19)
    near = moved_at(earlier, 2.0, 3) + speech(SECS, caller=True, pause_s=0.2) * (
        np.arange(len(echoed)) > 12000
    )
    blocks = [side[: 3 * 8000].reshape(-1, BLOCK) for side in (near, echoed)]
    moves = past_moves(list(blocks[0]), list(blocks[1]))
    assert [int(moves[at]) for at in (30, 47, 53, 97, 103, 149)] == [-22, -22, -3, -3, 0, 0]
