"""What bench says of servers."""

from __future__ import annotations

from audio.spread import Spread
from engines.pace import Pace
from engines.remote.pace import holds, report_servers

STAGES = {"opus": Spread(1.2, 2, 3), "wire": Spread(100, 120, 130), "server": Spread(40, 60, 75)}


def test_names_each_share_of_the_delay() -> None:
    lines = report_servers(Pace(2, 250, STAGES, Spread(141, 180, 200), 0))
    assert [line.split() for line in lines[:6]] == [
        ["milliseconds", "p50", "p95", "max"],
        ["opus", "1.2", "2.0", "3.0"],
        ["wire", "100.0", "120.0", "130.0"],
        ["server", "40.0", "60.0", "75.0"],
        ["answer", "141.0", "180.0", "200.0"],
        ["0", "of", "500", "frames", "dropped"],
    ]
    assert lines[-1] == (
        "Verdict: holds real time for 2 calls: an answer takes 141 ms at p50 "
        "(40 in the server, 100 on the wire, 1 in Opus), 180 at p95."
    )


def test_a_long_wire_is_not_slow_but_drops_are() -> None:
    assert holds(Pace(1, 100, STAGES, Spread(141, 180, 200), 1))
    slow = Pace(1, 100, STAGES, Spread(141, 180, 200), 2)
    assert not holds(slow)
    assert "does not hold real time for 1 call: 2 frames were dropped" in report_servers(slow)[-1]


def test_nothing_came_back() -> None:
    nothing = Pace(1, 100, {}, None, 0)
    assert not holds(nothing)
    assert report_servers(nothing)[-1] == "Verdict: too slow: not one of 100 frames was answered."
