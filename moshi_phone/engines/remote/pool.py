"""Which server takes the next call: leases, and servers that are out for a while. Time is an argument."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from moshi_phone.engines.remote.server import Server

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
IDLE_PROBE_S = 10.0  # how often a server is looked at that has nothing to do


@dataclass
class Backend:
    """A server and what is known of it.

    Attributes:
        server: which.
        capacity: how many calls it may hold.
        calls: how many it holds.
        served: how many it has taken since the start.
        error: one sentence on why it gets no calls; None while it does.
        failures: since a call last reached its model; each makes the next pause longer.
        look_s: when it is to be looked at next.
    """

    server: Server
    capacity: int
    calls: int = 0
    served: int = 0
    error: str | None = "It has not been looked at yet."
    failures: int = 0
    next_probe_s: float = -math.inf

    @property
    def free(self) -> int:
        """How many more calls it can take now."""
        return 0 if self.error is not None else max(self.capacity - self.calls, 0)


class BackendPool:
    """Hands out servers, one lease a call.

    Args:
        servers: in the order in which they are preferred.
        calls_per_server: how many leases each gives at once.
    """

    def __init__(self, servers: Sequence[Server], calls_per_server: int = 1) -> None:
        self.backends = [Backend(server, calls_per_server) for server in servers]

    @property
    def calls(self) -> int:
        """Leases that are out."""
        return sum(place.calls for place in self.backends)

    @property
    def free(self) -> int:
        """Leases that can be had now."""
        return sum(place.free for place in self.backends)

    @property
    def error(self) -> str | None:
        """One sentence where no server is in, else None."""
        errors = [place.error for place in self.backends if place.error is not None]
        return None if len(errors) < len(self.backends) else " ".join(f"{one.rstrip('.')}." for one in errors)

    def lease(self) -> Backend | None:
        """Take a place on the server that has the most room; None when there is none."""
        place = max(self.backends, key=lambda place: place.free, default=None)
        if place is None or not place.free:
            return None
        place.calls += 1
        place.served += 1
        return place

    def release(self, place: Backend, now_s: float) -> None:
        """Give a lease back. The server is looked at soon: it may still be clearing up.

        Raises:
            ValueError: when none was given.
        """
        if place.calls == 0:
            raise ValueError(f"expected a lease of {place.server.name}, got one more than were given")
        place.calls -= 1
        if place.error is None:
            place.next_probe_s = now_s + IDLE_PROBE_S

    def reached(self, place: Backend) -> None:
        """Take note that a call has reached the server's model: it is well."""
        place.failures = 0

    def failed(self, place: Backend, error: str, now_s: float) -> None:
        """Take a server out, for longer each time."""
        place.error = error
        place.next_probe_s = now_s + min(FIRST_PAUSE_S * 2**place.failures, MAX_PAUSE_S)
        place.failures += 1

    def due(self, now_s: float) -> list[Backend]:
        """Give the servers that are to be looked at: those that are out, and those that have nothing to do.

        One with a call is left alone: the call tells how it is.
        """
        return [place for place in self._to_look_at() if place.next_probe_s <= now_s]

    def next_look_s(self) -> float:
        """Give the time at which a server is due next."""
        return min((place.next_probe_s for place in self._to_look_at()), default=math.inf)

    def record_probe(self, place: Backend, error: str | None, now_s: float) -> None:
        """Take note of what was seen: a server that answers is put back, any other is taken out."""
        if error is not None:
            self.failed(place, error, now_s)
            return
        place.error = None
        place.next_probe_s = now_s + IDLE_PROBE_S

    def _to_look_at(self) -> list[Backend]:
        return [place for place in self.backends if place.error is not None or not place.calls]
