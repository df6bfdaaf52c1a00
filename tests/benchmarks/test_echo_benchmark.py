"""The benchmark's simulated calls with jitter: the echo is removed, and the caller's voice is kept."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import echo
from moshi_phone.audio import g711, pcm


@pytest.mark.parametrize("delay_ms", [60, 400])
def test_an_echo_is_removed_under_jitter_during_double_talk(
    delay_ms: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Jitter used to shift the reference against the echo: 10 dB, and a STOI of 0.81 to 0.87."""
    monkeypatch.setattr(echo, "SECS", 12.0)
    monkeypatch.setattr(echo, "LOSSES_DB", (6,))
    echo.main(["--calls", "1", "--delay-ms", str(delay_ms)])
    *_, silent, speaks = capsys.readouterr().out.splitlines()
    less_db, score = (float(cell) for cell in speaks.split("|")[5:7])
    assert less_db >= 20
    assert score >= 0.95
    assert float(silent.split("|")[5]) >= 20


def test_a_late_echo_is_found_in_five_seconds_with_jitter_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, after 5.1 s: few of its half seconds are clear by themselves, but all agree on the delay."""
    monkeypatch.setattr(echo, "SECS", 6.0)
    found_s = echo.simulate(600, 6, talks=False, jitter_back_ms=20, seed=3).found_s
    assert found_s is not None
    assert found_s <= 5


@pytest.mark.slow
@pytest.mark.parametrize(("delay_ms", "loss_db", "less_db"), [(150, 15, 16), (60, 25, 12)])
def test_an_echo_is_removed_when_neither_side_pauses(
    delay_ms: float, loss_db: float, less_db: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was 9 and 5 dB when parts of the caller's voice were learnt as echo."""
    monkeypatch.setattr(echo, "SECS", 12.0)
    outcome = echo.simulate(delay_ms, loss_db, talks=True, pauses=False, seed=2 if loss_db == 15 else 1)
    assert outcome.less_db >= less_db
    assert outcome.stoi is not None
    assert outcome.stoi >= 0.98


@pytest.mark.parametrize(
    ("left", "less_db"),
    [(0.0, 60), (0.1, 20), (1.0, 0), ("moved", -3)],
    ids=["none", "a tenth", "all", "moved"],
)
def test_the_measurement_finds_a_weak_echo_under_a_noisy_voice(left: float | str, less_db: float) -> None:
    """A perfect canceller of an echo 25 dB down used to measure 20 to 26 dB, and one of a shifted echo 0."""
    rng = np.random.default_rng(1)
    voice, bot = rng.normal(0, 0.1, (2, 16_000))
    returned = 10 ** (-25 / 20) * bot
    on_the_phone = g711.decode(g711.encode(pcm.to_bytes((voice + returned).astype(np.float32))))
    near = pcm.to_float(on_the_phone).astype(np.float64)
    rest = returned - np.roll(returned, 3) if left == "moved" else float(left) * returned
    after = near - returned + rest
    assert echo.echo_less_db(near, returned, after, after) >= less_db - 0.2
    if left:
        assert echo.echo_less_db(near, returned, after, after) == pytest.approx(less_db, abs=0.2)
    # What the suppression takes from the voice is no echo: the filter's rest counts there.
    assert echo.echo_less_db(near, returned, after, 0.3 * after) >= less_db - 0.2
