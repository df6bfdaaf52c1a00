from __future__ import annotations

from moshi_phone.records.observations import CallObservations


def test_nothing_of_one_call_is_another_s() -> None:
    one, other = CallObservations(), CallObservations()
    one.metrics.frames = 3
    one.transcript.add("Hello.", 0.0)
    one.transcript.close()
    assert other.metrics.frames == 0
    assert other.transcript.lines == []
    assert one.kept is not other.kept
