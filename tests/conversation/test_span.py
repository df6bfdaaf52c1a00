from __future__ import annotations

from moshi_phone.conversation.span import Span, bridged, common, covering, gaps, total_s

ONE = [Span(1, 2), Span(2.4, 3), Span(5, 6)]


def test_short_gaps_are_bridged() -> None:
    assert bridged(ONE, 0.5) == [Span(1, 3), Span(5, 6)]


def test_the_intersection_of_spans() -> None:
    assert common(ONE, [Span(1.5, 2.5), Span(5.5, 9)]) == [Span(1.5, 2), Span(2.4, 2.5), Span(5.5, 6)]


def test_gaps_are_the_uncovered_parts() -> None:
    assert gaps(ONE, 7) == [Span(0, 1), Span(2, 2.4), Span(3, 5), Span(6, 7)]
    assert gaps([], 7) == [Span(0, 7)]
    assert gaps([Span(0, 7)], 7) == []


def test_the_total_is_the_sum_of_the_lengths() -> None:
    assert round(total_s(ONE), 3) == 2.6


def test_covering_is_strict_at_both_ends() -> None:
    assert covering(ONE, 1.5) == Span(1, 2)
    assert [covering(ONE, at_s) for at_s in (0.5, 1, 2, 2.2, 6)] == [None] * 5
