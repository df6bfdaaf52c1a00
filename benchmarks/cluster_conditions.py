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
        days: how long.
        load: how many calls there would be at once, on average, if none were refused (erlangs).
        swing: by which share of itself the load falls at night and rises at noon.
        call_s: the mean length of a call.
        lengths: how lengths are spread about that mean.
        capacity_each: sessions of one worker.
        start_s: from the start of a worker to its first call.
        life_hours: for how long a worker lives on average, until it dies under its calls.
        update_hours: after how many hours the next version comes.
        drain_s: how long a call may continue on a draining worker.
        backends: how many workers the machines hold, those that start and drain among them.
        seed: of all chance.
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
        offered: calls that came.
        refused: calls that found no session.
        failed: calls that were cut because their worker died.
        hung_up: calls that were cut because their worker had drained for too long.
        mean_sessions: that there were, taken or not, also at workers that start or drain.
    """

    offered: int = 0
    refused: int = 0
    failed: int = 0
    hung_up: int = 0
    mean_sessions: float = 0.0

    @property
    def refused_share(self) -> float:
        """Of the calls that came."""
        return self.refused / self.offered

    @property
    def cut_share(self) -> float:
        """Of the calls that came; for either reason."""
        return (self.failed + self.hung_up) / self.offered
