"""What a line needs and costs: the formulas, and the command's output."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks.erlang import erlang_b
from moshi_phone.commands.costs import Prices, Traffic, estimate, refused_share
from moshi_phone.commands.estimate import estimate as estimate_command

FREE = Prices(0, 0, 0)


def test_a_month_equals_a_calculation_by_hand() -> None:
    found = estimate(Traffic(3, 60, 3, days=20, busy_share=0, numbers=2), Prices(0.01, 0.005, 1.0, 0.5))
    assert (found.minutes, found.refused_share) == (3600, 0)
    assert found.phone == pytest.approx(3600 * 0.015 + 2)
    assert found.machine == 365.0
    assert found.total == pytest.approx(421.0)
    assert found.per_minute == pytest.approx(421 / 3600)
    assert found.memory_gb == 14.5


@pytest.mark.parametrize(("load", "lines"), [(0.0, 1), (0.45, 1), (2.0, 3), (30.0, 40)])
def test_the_share_of_busy_tones_is_erlang_s(load: float, lines: int) -> None:
    assert refused_share(load, lines) == pytest.approx(erlang_b(load, lines))


def test_refused_calls_cost_nothing() -> None:
    busy = estimate(Traffic(1, 600, 3), FREE)
    assert busy.refused_share == pytest.approx(erlang_b(4.5, 1))
    assert busy.minutes < 600 * 3 * 22
    assert estimate(Traffic(1, 0, 3), FREE).per_minute == 0


def test_the_command_s_output() -> None:
    arguments = ["--lines", "3", "--calls-a-day", "60", "--days", "20", "--busy-share", "0"]
    arguments += ["--minutes", "3", "--call-price", "0.01"]
    told = CliRunner().invoke(
        estimate_command, [*arguments, "--stream-price", "0.005", "--machine-price", "0.5"]
    )
    assert told.exit_code == 0
    assert told.output.splitlines() == [
        "calls      1,200 a month, 3,600 minutes",
        "busy tone  0.0% of the calls in the busiest hour find every line taken",
        "memory     14.5 GB for Moshi with --quantize 4; `bench` says whether a machine holds it",
        "phone      55.15 a month",
        "machine    365.00 a month",
        "total      420.15 a month, 0.1167 for a minute of a call",
    ]
    assert "expected a whole number from 1" in CliRunner().invoke(estimate_command, ["--lines", "0"]).output
