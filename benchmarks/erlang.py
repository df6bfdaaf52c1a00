"""Erlang's formula B: the share of calls that find every session taken. Pure."""

from __future__ import annotations

import math


def erlang_b(load: float, sessions: int) -> float:
    """Return the share of refused calls, for random arrivals and refused callers who do not call again.

    It depends only on the mean length of the calls, not on their distribution (A. K. Erlang, 1917).

    Args:
        load: mean number of simultaneous calls if none were refused (erlangs).
        sessions: maximum number of simultaneous calls.
    """
    share = 1.0
    for taken in range(1, sessions + 1):  # by recursion: the factorials of the formula overflow
        share = load * share / (taken + load * share)
    return share


def sessions_for(load: float, refused: float) -> int:
    """Return the number of sessions for a maximum share of refused calls.

    Args:
        load: erlangs.
        refused: a share, above 0.
    """
    share, sessions = 1.0, 0
    while share > refused:
        sessions += 1
        share = load * share / (sessions + load * share)
    return sessions


def load_over_day(mean_load: float, swing: float, hour: float) -> float:
    """Return the load at an hour of a day that is quietest at 0 and busiest at 12.

    Args:
        mean_load: erlangs.
        swing: the share of the mean by which it rises and falls.
        hour: of the day.
    """
    return mean_load * (1 - swing * math.cos(2 * math.pi * hour / 24))


def refused_over_day(mean_load: float, swing: float, sessions: int) -> float:
    """Return the refused share of a day's calls, by Erlang's formula for each hour.

    It is exact only if the load changes slowly compared with the length of a call.
    """
    loads = [load_over_day(mean_load, swing, quarter / 4) for quarter in range(96)]
    return sum(load * erlang_b(load, sessions) for load in loads) / sum(loads)


def sessions_over_day(mean_load: float, swing: float, refused: float) -> int:
    """Return the fixed number of sessions for a maximum refused share of a day's calls."""
    sessions = 1
    while refused_over_day(mean_load, swing, sessions) > refused:
        sessions += 1
    return sessions
