"""Statistics over many calls, and comparison of two sets of calls. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from moshi_phone.audio.percentiles import Percentiles

_RESAMPLES = 2000
_LEVEL = 0.95
_MIN_CALLS = 2  # one call has no spread between calls

Talked = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure over many calls, with its confidence interval of 95 %.

    Attributes:
        value: the figure over all calls.
        low, high: the interval; None with too few calls.
        calls: number of calls.
        count: number of measured events.
    """

    value: float
    low: float | None
    high: float | None
    calls: int
    count: int


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of a figure between two sets of calls.

    Attributes:
        first, second: the figure of each set.
        change: ``second`` minus ``first``.
        low, high: the confidence interval of the change.
        certain: whether the interval excludes 0.
    """

    first: float
    second: float
    change: float
    low: float
    high: float
    certain: bool


def _gaps(talked: Talked) -> list[float]:
    return [float(response["gap_ms"]) for response in talked["responses"]]


def _stops(talked: Talked) -> list[float]:
    return [float(one["stop_ms"]) for one in talked["interruptions"] if one["stop_ms"] is not None]


def _taken(talked: Talked) -> list[float]:
    return [float(pause["taken"]) for pause in talked["pauses"]]


def _yielded(talked: Talked) -> list[float]:
    return [float(one["yielded"]) for one in talked["interruptions"]]


def _answered(talked: Talked) -> list[float]:
    answered = len(talked["responses"])
    return [1.0] * answered + [0.0] * (talked["turns"] - answered)


def _stopped(talked: Talked) -> list[float]:
    return [float(one["stopped"]) for one in talked["backchannels"]]


def _silence(talked: Talked) -> list[float]:
    return [float(talked["longest_silence_s"])]


FIGURES: Mapping[str, tuple[Callable[[Talked], list[float]], bool]] = {
    "response_ms": (_gaps, True),
    "stop_ms": (_stops, True),
    "answered_share": (_answered, False),
    "yielded_share": (_yielded, False),
    "pauses_taken_share": (_taken, False),
    "backchannel_stops_share": (_stopped, False),
    "longest_silence_s": (_silence, True),
}
"""Each figure: a function that returns a call's values, and whether to use the median or the mean."""


def over_all(calls: Sequence[Talked]) -> dict[str, Interval | None]:
    """Return each figure over all calls, with its interval; None if no call has it.

    The interval comes from a bootstrap over calls, because events within a call are correlated.
    """
    return {name: _interval([take(call) for call in calls], by) for name, (take, by) in FIGURES.items()}


def pooled(calls: Sequence[Talked]) -> dict[str, Any]:
    """Merge the events and counts of several calls, in the format of one call's summary."""
    lists = ("responses", "interruptions", "pauses", "backchannels")
    counts = ("turns", "unanswered_turns", "takeovers_in_pauses", "backchannel_stops", "bot_interruptions")
    firsts = {call["first_speaker"] for call in calls}
    return {
        "calls": len(calls),
        "first_speaker": firsts.pop() if len(firsts) == 1 else None,
        **{name: [event for call in calls for event in call[name]] for name in lists},
        **{name: sum(call[name] for call in calls) for name in counts},
        "longest_silence_s": max((call["longest_silence_s"] for call in calls), default=0.0),
    }


def against(first: Sequence[Talked], second: Sequence[Talked]) -> dict[str, Difference | None]:
    """Compare two sets of calls, figure by figure; None if either set lacks it."""
    return {
        name: _difference([take(call) for call in first], [take(call) for call in second], by)
        for name, (take, by) in FIGURES.items()
    }


def distributions(calls: Sequence[Talked]) -> dict[str, dict[str, float] | None]:
    """Return median, p95 and maximum of each timed figure, over all calls."""
    found = {}
    for name, (take, by_median) in FIGURES.items():
        if by_median:
            spread = Percentiles.of([value for call in calls for value in take(call)])
            found[name] = asdict(spread) if spread else None
    return found


def _interval(by_call: Sequence[Sequence[float]], by_median: bool) -> Interval | None:
    known = [np.asarray(values) for values in by_call if len(values)]
    if not known:
        return None
    count = sum(len(values) for values in known)
    value = _summed_up(known, by_median)
    if len(known) < _MIN_CALLS:
        return Interval(value, None, None, len(known), count)
    low, high = _edges(_resampled(known, by_median, seed=1))
    return Interval(value, low, high, len(known), count)


def _difference(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], by_median: bool
) -> Difference | None:
    sides = [[np.asarray(values) for values in side if len(values)] for side in (first, second)]
    if any(len(side) < _MIN_CALLS for side in sides):
        return None
    one, other = (_summed_up(side, by_median) for side in sides)
    drawn = _resampled(sides[1], by_median, seed=2) - _resampled(sides[0], by_median, seed=1)
    low, high = _edges(drawn)
    return Difference(one, other, other - one, low, high, low > 0 or high < 0)


def _summed_up(by_call: Sequence[np.ndarray[Any, Any]], by_median: bool) -> float:
    values = np.concatenate(by_call)
    return float(np.median(values) if by_median else values.mean())


def _resampled(by_call: Sequence[np.ndarray[Any, Any]], by_median: bool, seed: int) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    # A bootstrap: draw as many calls with replacement, many times.
    drawn = random.integers(0, len(by_call), (_RESAMPLES, len(by_call)))
    return np.array([_summed_up([by_call[index] for index in row], by_median) for row in drawn])


def _edges(drawn: np.ndarray[Any, Any]) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
