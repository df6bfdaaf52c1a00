"""The benchmark's simulated calls, with jitter: the echo goes, and the caller's voice stays."""

from __future__ import annotations

import pytest

from benchmarks import echo


@pytest.mark.parametrize("delay_ms", [60, 400])
def test_an_echo_goes_under_jitter_while_both_speak(
    delay_ms: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before, jitter moved the reference against the echo: 10 dB, and a STOI of 0.81 to 0.87."""
    monkeypatch.setattr(echo, "SECS", 12.0)
    monkeypatch.setattr(echo, "LOSSES_DB", (6,))
    echo.main(["--calls", "1", "--delay-ms", str(delay_ms)])
    *_, silent, speaks = capsys.readouterr().out.splitlines()
    less_db, score = (float(cell) for cell in speaks.split("|")[5:7])
    assert less_db >= 20
    assert score >= 0.95
    assert float(silent.split("|")[5]) >= 20
