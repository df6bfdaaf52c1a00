"""Selection of a server for each call: leases, and servers out of service. Time is an argument."""

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
    """A server and its state.

    Attributes:
        server: the server.
        capacity: maximum number of its calls.
        calls: number of its running calls.
        served: number of its calls since the start.
        error: one sentence on why it gets no calls; None while it does.
        failures: number of failures since a call last reached its model; each one lengthens the next pause.
        next_probe_s: time of its next probe.
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
        """Number of its free leases."""
        return 0 if self.error is not None else max(self.capacity - self.calls, 0)


class BackendPool:
    """Leases servers to calls.

    Args:
        servers: in the order of preference.
        calls_per_server: number of leases of each.
    """

    def __init__(self, servers: Sequence[Server], calls_per_server: int = 1) -> None:
        self.backends = [Backend(server, calls_per_server) for server in servers]

    @property
    def calls(self) -> int:
        """Number of leases in use."""
        return sum(backend.calls for backend in self.backends)

    @property
    def free(self) -> int:
        """Number of free leases."""
        return sum(backend.free for backend in self.backends)

    @property
    def error(self) -> str | None:
        """One sentence if no server is in service, else None."""
        errors = [backend.error for backend in self.backends if backend.error is not None]
        return None if len(errors) < len(self.backends) else " ".join(f"{one.rstrip('.')}." for one in errors)

    def lease(self) -> Backend | None:
        """Lease the server with the most free leases; None if all are taken."""
        # max returns the first of equals, so the order of --server is the order of preference.
        backend = max(self.backends, key=lambda backend: backend.free, default=None)
        if backend is None or not backend.free:
            return None
        backend.calls += 1
        backend.served += 1
        return backend

    def release(self, backend: Backend, now_s: float) -> None:
        """Return a lease. The server is not probed at once: it may still be cleaning up.

        Raises:
            ValueError: when it has no lease.
        """
        if backend.calls == 0:
            raise ValueError(f"expected a lease of {backend.server.name}, got one more than were given")
        backend.calls -= 1
        if backend.error is None:
            backend.next_probe_s = now_s + IDLE_PROBE_S

    def reached(self, backend: Backend) -> None:
        """Record that a call has reached the server's model, so the server works."""
        backend.failures = 0

    def failed(self, backend: Backend, error: str, now_s: float) -> None:
        """Take a server out of service, for longer each time."""
        backend.error = error
        # Doubled with each failure, so that a dead server is probed once a minute in the end.
        backend.next_probe_s = now_s + min(FIRST_PAUSE_S * 2**backend.failures, MAX_PAUSE_S)
        backend.failures += 1

    def due(self, now_s: float) -> list[Backend]:
        """Return the servers to probe now: those out of service, and those without calls.

        A server with a call is not probed, because the call shows whether it works.
        """
        return [backend for backend in self._to_probe() if backend.next_probe_s <= now_s]

    def next_probe_s(self) -> float:
        """Return the time of the next probe."""
        return min((backend.next_probe_s for backend in self._to_probe()), default=math.inf)

    def record_probe(self, backend: Backend, error: str | None, now_s: float) -> None:
        """Record a probe's result: a server that answers is in service, any other is not."""
        if error is not None:
            self.failed(backend, error, now_s)
            return
        backend.error = None
        backend.next_probe_s = now_s + IDLE_PROBE_S

    def _to_probe(self) -> list[Backend]:
        return [backend for backend in self.backends if backend.error is not None or not backend.calls]
