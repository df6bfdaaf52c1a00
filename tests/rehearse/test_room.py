"""A phone with an echo, and noise."""

from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio import g711, pcm
from moshi_phone.rehearse.playback import Playback
from moshi_phone.rehearse.record import PACKET_SAMPLES
from moshi_phone.rehearse.room import Room

SILENT = bytes([g711.SILENCE]) * PACKET_SAMPLES


def leaves(room: Room, heard: bytes, packets: int) -> np.ndarray:
    """Return what a silent caller's phone sends while it plays audio in real time."""
    ear, sent = Playback(), b""
    for packet in range(packets):
        ear.media(heard[packet * PACKET_SAMPLES : (packet + 1) * PACKET_SAMPLES], packet * 0.02)
        sent += room.packet(SILENT, ear, packet * PACKET_SAMPLES)
    return pcm.to_float(g711.decode(sent))


def test_played_audio_returns_later_and_weaker() -> None:
    noise = np.random.default_rng(2).normal(0, 0.1, 16_000).astype(np.float32)
    heard = g711.encode(pcm.to_bytes(noise))
    sent = leaves(Room(100, 20), heard, 100)
    assert not sent[:790].any()
    assert int(np.argmax(np.correlate(sent, noise[: len(sent) - 1500], "valid"))) == 800
    assert 20 * np.log10(np.std(noise) / np.std(sent[2000:])) == pytest.approx(20, abs=1)


def test_noise_has_its_given_level_below_a_voice() -> None:
    sent = leaves(Room(noise_db=20), SILENT * 100, 100)
    assert 20 * np.log10(np.std(sent)) == pytest.approx(-40, abs=1)


def test_without_echo_and_noise_nothing_changes() -> None:
    assert Room().packet(SILENT, Playback(), 0) == SILENT
