from __future__ import annotations

from moshi_phone.rehearse.checks import Criterion
from moshi_phone.rehearse.comparison import NumberSpread, as_json, compare
from moshi_phone.rehearse.rehearsal import RehearsalResult
from tests.rehearse.test_report import rehearsed


def call(*points: Criterion) -> RehearsalResult:
    whole = rehearsed()
    whole.points = list(points)
    return whole


def test_criteria_are_compared_over_all_calls() -> None:
    good = Criterion("delay", "Delay", True, "20 ms", "30 ms", by_speed=True, numbers={"ms": 20})
    bad = Criterion("delay", "Delay", False, "50 ms", "30 ms", by_speed=True, numbers={"ms": 50})
    unknown = Criterion("delay", "Delay", None, "not judged", "30 ms", by_speed=True)
    (compared,) = compare([call(good), call(bad), call(unknown), call(good)])
    assert (compared.held, compared.judged, compared.passed) == (2, 3, False)
    assert compared.figure == "50 ms"
    assert compared.numbers == {"ms": NumberSpread(20, 20, 50, [20, 50, None, 20])}
    (told,) = as_json([compared])
    assert told["numbers"]["ms"]["by_call"] == [20, 50, None, 20]
    assert told["passed"] is False
    (compared,) = compare([call(unknown), call(unknown)])
    assert (compared.judged, compared.passed) == (0, None)
