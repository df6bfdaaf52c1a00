from __future__ import annotations

from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.engines.duplex import WIRE
from moshi_phone.engines.real_time_benchmark import Pace
from moshi_phone.engines.remote.pace import keeps_up, report_servers

STAGES = {
    "server": Percentiles(150, 180, 200),
    WIRE: Percentiles(20, 25, 30),
    "opus": Percentiles(53, 54, 55),
}


def test_the_verdict_names_the_source_of_the_delay() -> None:
    pace = Pace(1, 100, STAGES, Percentiles(230, 260, 300), 0)
    assert keeps_up(pace)
    assert report_servers(pace)[-1] == (
        "Verdict: keeps up with 1 call: an answer takes 230 ms at p50 "
        "(150 in the server, 20 on the wire, 53 in Opus), 260 at p95."
    )


def test_dropped_frames_count_as_too_slow() -> None:
    pace = Pace(2, 100, STAGES, Percentiles(230, 260, 300), 3)
    assert not keeps_up(pace)
    *_, count, verdict = report_servers(pace)
    assert count == "3 of 200 frames dropped"
    assert verdict.startswith("Verdict: does not keep up with 2 calls: 3 frames")
    assert keeps_up(Pace(2, 100, STAGES, Percentiles(230, 260, 300), 2))  # one in a hundred is the machine's


def test_a_server_without_answers() -> None:
    pace = Pace(1, 100, {}, None, 0)
    assert not keeps_up(pace)
    assert report_servers(pace)[-1] == "Verdict: too slow: not one of 100 frames was answered."
