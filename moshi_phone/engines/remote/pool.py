"""Which server takes the next call: leases, and servers out of service. Time is an argument."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from moshi_phone.engines.remote.server import Server

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
IDLE_PROBE_S = 10.0  # between two probes of a server without calls


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
        next_probe_s: when it is to be probed next.
    """

    server: Server
    capacity: int
    calls: int = 0
    served: int = 0
    error: str | None = "It has not been probed yet."
    failures: int = 0
    next_probe_s: float = -math.inf

    @property
    def free(self) -> int:
        """Number of further calls that it can take now."""
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
        return sum(backend.calls for backend in self.backends)

    @property
    def free(self) -> int:
        """Leases that are free now."""
        return sum(backend.free for backend in self.backends)

    @property
    def error(self) -> str | None:
        """One sentence when no server is in service, else None."""
        errors = [backend.error for backend in self.backends if backend.error is not None]
        return None if len(errors) < len(self.backends) else " ".join(f"{one.rstrip('.')}." for one in errors)

    def lease(self) -> Backend | None:
        """Lease the server with the most room; None when there is none."""
        # max takes the first of equals: servers are preferred in the order of --server.
        backend = max(self.backends, key=lambda backend: backend.free, default=None)
        if backend is None or not backend.free:
            return None
        backend.calls += 1
        backend.served += 1
        return backend

    def release(self, backend: Backend, now_s: float) -> None:
        """Return a lease. The server is not probed at once: it may still be cleaning up.

        Raises:
            ValueError: when none was given.
        """
        if backend.calls == 0:
            raise ValueError(f"expected a lease of {backend.server.name}, got one more than were given")
        backend.calls -= 1
        if backend.error is None:
            backend.next_probe_s = now_s + IDLE_PROBE_S

    def reached(self, backend: Backend) -> None:
        """Record that a call has reached the server's model: it works."""
        backend.failures = 0

    def failed(self, backend: Backend, error: str, now_s: float) -> None:
        """Take a server out of service, for longer each time."""
        backend.error = error
        # Doubled with each failure, so that a dead server is probed once a minute.
        backend.next_probe_s = now_s + min(FIRST_PAUSE_S * 2**backend.failures, MAX_PAUSE_S)
        backend.failures += 1

    def due(self, now_s: float) -> list[Backend]:
        """Return the servers to probe now: those out of service, and those without calls.

        A server with a call is not probed: the call shows whether it works.
        """
        return [backend for backend in self._to_probe() if backend.next_probe_s <= now_s]

    def next_probe_s(self) -> float:
        """Return the time of the next probe."""
        return min((backend.next_probe_s for backend in self._to_probe()), default=math.inf)

    def record_probe(self, backend: Backend, error: str | None, now_s: float) -> None:
        """Record a probe: a server that answers goes into service, any other out of it."""
        if error is not None:
            self.failed(backend, error, now_s)
            return
        backend.error = None
        backend.next_probe_s = now_s + IDLE_PROBE_S

    def _to_probe(self) -> list[Backend]:
        return [backend for backend in self.backends if backend.error is not None or not backend.calls]
