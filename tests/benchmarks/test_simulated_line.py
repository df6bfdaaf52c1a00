"""Jitter, loss, skew, stalls and outages: minutes of each in the fast tests, hours in the slow ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.jitter import FOOT, HEAD, JITTERS_MS, NETWORKS, STALLS, four_hours, hour, row
from benchmarks.simulated_line import Conditions, Outcome, SimulatedLine, simulate

MINUTE = 1 / 60
PAGE = (Path(__file__).parents[2] / "docs" / "jitter.md").read_text(encoding="utf-8")


def check_call(outcome: Outcome, *, delay_may_grow: bool = False) -> None:
    """Check what must hold for every call without an outage."""
    assert outcome.gap_s <= 0.005 * outcome.secs
    assert outcome.late_gap_s <= 0.6 * outcome.gap_s + 0.1  # not growing
    assert outcome.cut_s == 0
    assert delay_may_grow or abs(outcome.last_delay_ms - outcome.first_delay_ms) <= 20
    assert_metered(outcome)


def assert_metered(outcome: Outcome) -> None:
    """Check that the meter agrees with what was heard: to a tenth, or to what jitter leaves uncertain."""
    assert outcome.metered_gap_s == pytest.approx(outcome.gap_s, rel=0.1, abs=0.2)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("jitter_ms", [0, 50])
def test_minutes_of_jitter(jitter_ms: float, network: str) -> None:
    check_call(hour(jitter_ms, pauses=True, network=network, hours=6 * MINUTE))


@pytest.mark.cpu_bound
@pytest.mark.parametrize(("number", "network"), list(enumerate(NETWORKS)))
@pytest.mark.parametrize("pauses", [True, False])
def test_hours_of_jitter(pauses: bool, number: int, network: str) -> None:
    """One row of the page for each network; all rows take ten minutes of CPU (``benchmarks/jitter.py``)."""
    # Where audio is late for lost packets and never pauses, nothing can be taken out again.
    delay_may_grow = network == "1 % lost" and not pauses
    jitter_ms = JITTERS_MS[(number + 2 * pauses) % len(JITTERS_MS)]
    outcome = hour(jitter_ms, pauses, network)
    check_call(outcome, delay_may_grow=delay_may_grow)
    answer = "pauses" if pauses else "never pauses"
    assert row(str(jitter_ms), answer, network, outcome=outcome) in PAGE


@pytest.mark.cpu_bound
def test_four_hours_with_stalls() -> None:
    """With the worst jitter; the 40-minute test below shows that runs are reproducible."""
    jitter_ms = max(JITTERS_MS)
    outcome = four_hours(jitter_ms)
    check_call(outcome)
    assert 24 * 1.9 < outcome.gap_s < 24 * 2.1
    assert all(row(str(jitter_ms), run, outcome=outcome) in PAGE for run in ("first", "second"))


def test_the_page_shows_what_the_command_prints() -> None:
    assert all(text in PAGE for text in (HEAD, FOOT, STALLS))


@pytest.mark.slow
def test_forty_minutes_with_stalls_are_reproducible() -> None:
    first, second = (four_hours(30, hours=40 * MINUTE) for _ in range(2))
    assert first == second
    check_call(first)
    assert 4 * 1.9 < first.gap_s < 4 * 2.1


def test_audio_delayed_by_the_network_is_detected_and_trimmed() -> None:
    """Once a minute, nothing that we send arrives for 300 ms; accounting alone cannot detect this."""
    outages_s = [(60 * minute, 60 * minute + 0.3) for minute in range(1, 9)]
    outcome = simulate(Conditions(hours=10 * MINUTE, outages_s=outages_s))
    assert outcome.gap_s == pytest.approx(8 * 0.26, rel=0.1)  # a cushion remains from the first
    assert outcome.trimmed_s == pytest.approx(outcome.gap_s, abs=0.05)
    assert outcome.last_delay_ms - outcome.first_delay_ms <= 10
    assert outcome.cut_s == 0
    assert_metered(outcome)


@pytest.mark.parametrize("jitter_ms", [0, 30])
def test_a_longer_round_trip_does_not_count_as_buffered_audio(jitter_ms: float) -> None:
    """The round trip becomes 100 ms longer; trimming cannot remove what seems to be buffered."""
    line = SimulatedLine(Conditions(hours=20 * MINUTE, jitter_ms=jitter_ms))
    answer = line._answer

    def longer_from_five_minutes_on(frame: int, now_s: float) -> None:
        line.way_in.extra_s = 0.1 if now_s > 300 else 0.0
        answer(frame, now_s)

    line._answer = longer_from_five_minutes_on  # type: ignore[method-assign]
    outcome = line.run()
    assert outcome.gap_s < 1.0
    assert outcome.late_gap_s < 0.1  # in the first minute or two after it
    assert outcome.cut_s == 0
    assert_metered(outcome)


def test_after_an_outage_speech_is_cut_to_one_second_of_lead() -> None:
    line = SimulatedLine(Conditions(hours=3 * MINUTE, pauses=False))
    arrival_s = line.way_in.arrival_s

    def held(sent_s: float) -> float:
        return arrival_s(max(sent_s, 63.0) if sent_s > 60 else sent_s)

    line.way_in.arrival_s = held  # type: ignore[method-assign]
    outcome = line.run()
    assert outcome.last_delay_ms - outcome.first_delay_ms <= 1_000
