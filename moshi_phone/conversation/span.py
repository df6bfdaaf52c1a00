"""Time spans, and operations on lists of them. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """A time span, in seconds since the start of the call."""

    begin_s: float
    end_s: float

    @property
    def secs(self) -> float:
        """Its duration."""
        return self.end_s - self.begin_s


def bridged(spans: Iterable[Span], gap_s: float) -> list[Span]:
    """Join spans, in order of time, that are no more than ``gap_s`` apart."""
    joined: list[Span] = []
    for span in spans:
        if joined and span.begin_s - joined[-1].end_s <= gap_s:
            joined[-1] = Span(joined[-1].begin_s, max(joined[-1].end_s, span.end_s))
        else:
            joined.append(span)
    return joined


def common(one: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """Return the intersection of two lists, each sorted and without overlaps."""
    both: list[Span] = []
    i = j = 0
    while i < len(one) and j < len(other):
        begin_s, end_s = max(one[i].begin_s, other[j].begin_s), min(one[i].end_s, other[j].end_s)
        if begin_s < end_s:
            both.append(Span(begin_s, end_s))
        if one[i].end_s < other[j].end_s:
            i += 1
        else:
            j += 1
    return both


def gaps(spans: Iterable[Span], until_s: float) -> list[Span]:
    """Return the spans from 0 to ``until_s`` that no span covers; ``spans`` are sorted by begin."""
    free: list[Span] = []
    end_s = 0.0
    for span in spans:
        if span.begin_s > end_s:
            free.append(Span(end_s, span.begin_s))
        end_s = max(end_s, span.end_s)
    if until_s > end_s:
        free.append(Span(end_s, until_s))
    return free


def total_s(spans: Iterable[Span]) -> float:
    """Return the total length of all spans."""
    return sum(span.secs for span in spans)


def covering(spans: Sequence[Span], at_s: float) -> Span | None:
    """Return the span of a sorted list that contains a time, or None."""
    index = bisect_right(spans, at_s, key=lambda span: span.begin_s) - 1
    return spans[index] if index >= 0 and spans[index].begin_s < at_s < spans[index].end_s else None
