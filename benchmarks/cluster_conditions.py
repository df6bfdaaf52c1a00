"""The conditions of a simulated cluster, and its results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

HOUR_S = 3600.0


@dataclass(frozen=True)
class Conditions:
    """The conditions of a cluster.

    Attributes:
        days: the duration.
        load: mean number of simultaneous calls if none were refused (erlangs).
        swing: the share of the load by which it falls at night and rises at noon.
        call_s: the mean length of a call.
        lengths: the distribution of lengths about that mean.
        capacity_each: sessions of one worker.
        start_s: from the start of a worker to its first call.
        life_hours: mean time until a worker fails, with its calls.
        update_hours: hours between two updates.
        drain_s: how long a call may continue on a draining worker.
        backends: maximum number of workers, including those that start and drain.
        seed: of all random numbers.
    """

    days: float = 7.0
    load: float = 20.0
    swing: float = 0.0
    call_s: float = 180.0
    lengths: Literal["exponential", "lognormal", "fixed"] = "exponential"
    capacity_each: int = 1
    start_s: float = 60.0
    life_hours: float = math.inf
    update_hours: float = math.inf
    drain_s: float = HOUR_S
    backends: int = 1_000_000
    seed: int = 1


@dataclass
class Outcome:
    """The results.

    Attributes:
        offered: all calls.
        refused: calls that found no session.
        failed: calls that were cut because their worker died.
        hung_up: calls that were cut because their worker had drained for too long.
        mean_sessions: mean number of sessions, taken or free, including those of workers that start or drain.
    """

    offered: int = 0
    refused: int = 0
    failed: int = 0
    hung_up: int = 0
    mean_sessions: float = 0.0

    @property
    def refused_share(self) -> float:
        """Share of all calls that were refused."""
        return self.refused / self.offered

    @property
    def cut_share(self) -> float:
        """Share of all calls that were cut, for either reason."""
        return (self.failed + self.hung_up) / self.offered
