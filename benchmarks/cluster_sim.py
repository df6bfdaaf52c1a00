"""Shares of refused and cut calls: by spare sessions, failures and updates, compared with Erlang's formula.

``uv run python -m benchmarks.cluster_sim`` prints the tables of docs/scale.md; it takes some minutes. Time is
simulated, so every run gives the same results.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from scipy.stats import t

from benchmarks.cluster_conditions import Conditions, Outcome
from benchmarks.erlang import erlang_b, sessions_over_day
from benchmarks.simulated_cluster import autoscaled, fixed, simulate
from benchmarks.table import head, row

SEEDS = range(1, 6)
LOAD = 20.0
SPARE = (0, 2, 4, 6, 8, 10, 12)
BREAKING = Conditions(load=LOAD, capacity_each=4, life_hours=72, update_hours=24)
UPDATES = {  # room for additional workers, and the time limit of draining
    "room for all twice": (1_000, 3600.0),
    "room for one more": (1, 3600.0),
    "room for one more, `--drain-secs 300`": (1, 300.0),
}
SWING = 0.8
STARTS_S = (30.0, 120.0, 600.0)
AUTOSCALED_SPARE = (1, 2, 4, 6, 8, 12)


@dataclass(frozen=True)
class Share:
    """A share of all calls, from several runs.

    Attributes:
        mean: over the runs.
        error: half of the interval that holds the true mean in 95 % of cases.
    """

    mean: float
    error: float

    @classmethod
    def of(cls, shares: list[float]) -> Share:
        """Compute it from runs with different seeds."""
        spread = statistics.stdev(shares) / len(shares) ** 0.5
        return cls(statistics.fmean(shares), float(t.ppf(0.975, len(shares) - 1)) * spread)

    def __str__(self) -> str:
        """Format as percent."""
        return f"{100 * self.mean:.2f} ± {100 * self.error:.2f}"


def runs(conditions: Conditions, live: Callable[[Conditions], Outcome]) -> list[Outcome]:
    """Simulate the same cluster with different seeds."""
    return [live(replace(conditions, seed=seed)) for seed in SEEDS]


def refused(outcomes: list[Outcome]) -> Share:
    """Return the share of refused calls."""
    return Share.of([one.refused_share for one in outcomes])


def cut(outcomes: list[Outcome]) -> Share:
    """Return the share of interrupted calls."""
    return Share.of([one.cut_share for one in outcomes])


def nothing_breaks() -> Iterator[str]:
    """Print a fixed number of sessions, compared with Erlang's formula."""
    yield from head("spare sessions", "sessions", "refused %, Erlang B", "refused %, simulated")
    for spare in SPARE:
        sessions = round(LOAD) + spare
        outcomes = runs(Conditions(load=LOAD), lambda one, n=sessions: simulate(one, fixed(n)))  # type: ignore[misc]
        yield row(spare, sessions, f"{100 * erlang_b(LOAD, sessions):.2f}", refused(outcomes))


def with_failures() -> Iterator[str]:
    """Print a fixed number of workers that die and are updated."""
    yield from head("spare sessions", "machines", "refused %, Erlang B", "refused %", "cut %")
    for name, (room, drain_s) in UPDATES.items():
        for spare in (4, 8, 12):
            sessions = round(LOAD) + spare
            workers = sessions // BREAKING.capacity_each
            conditions = replace(BREAKING, backends=workers + room, drain_s=drain_s)
            outcomes = runs(conditions, lambda one, n=workers: simulate(one, fixed(n)))  # type: ignore[misc]
            formula = f"{100 * erlang_b(LOAD, sessions):.2f}"
            yield row(spare, name, formula, refused(outcomes), cut(outcomes))


def with_autoscaling() -> Iterator[str]:
    """Print a day's wave, with a number of spare sessions."""
    yield from head(
        "start s",
        "`--spare-calls`",
        "refused %",
        "sessions, mean",
        "fixed sessions that refuse as few",
        "saved %",
    )
    for start_s in STARTS_S:
        for spare in AUTOSCALED_SPARE:
            conditions = Conditions(load=LOAD, swing=SWING, start_s=start_s)
            outcomes = runs(conditions, lambda one, spare=spare: autoscaled(one, spare))  # type: ignore[misc]
            share, mean = refused(outcomes), statistics.fmean(one.mean_sessions for one in outcomes)
            always = sessions_over_day(LOAD, SWING, share.mean)
            yield row(f"{start_s:g}", spare, share, f"{mean:.1f}", always, f"{100 * (1 - mean / always):.0f}")


TABLES = {
    "Nothing breaks": nothing_breaks,
    "Workers die, and updates come": with_failures,
    "Sessions that come and go": with_autoscaling,
}

if __name__ == "__main__":
    for title, table in TABLES.items():
        print(f"{title}\n")
        for line in table():
            print(line)
            sys.stdout.flush()
        print()
