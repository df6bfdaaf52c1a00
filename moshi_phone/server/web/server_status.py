"""The status of a server, for ``/healthz``, the page and the metrics. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from moshi_phone.engines.duplex import BackendStatus
from moshi_phone.runtime.version import VERSION


class Phase(StrEnum):
    """Where a server is in its life; ``/calls`` calls it ``state``."""

    LOADING = "loading"
    READY = "ready"
    ERROR = "error"
    CLOSING = "closing"


@dataclass(frozen=True)
class LoadStatus:
    """How close a server is to its limits.

    Attributes:
        lag_ms: how late a timer of the event loop fires, the 95th percentile of five seconds.
        deadline_misses: share of frames that were too slow, 0 to 1.
        overloaded: whether new calls are refused for it.
    """

    lag_ms: float = 0.0
    deadline_misses: float = 0.0
    overloaded: bool = False


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """The state of one server at one moment, or of all servers of a cluster together.

    Attributes:
        phase: where it is in its life.
        engine: name of its engine; several names with commas where a cluster's servers differ.
        engine_reason: why this engine was chosen, or an empty string.
        refusal: why a new call would be refused, without any detail that strangers must not read; None while
            calls are accepted. It may be set in every phase: an overloaded server is READY.
        failure: the error in the phase ERROR, in one sentence with its details; else None.
        progress: the engine's last progress line in the phase LOADING, else None.
        capabilities: what sessions can do besides talking, sorted.
        supported_overrides: settings that a call may request, such as ``persona``, sorted.
        capacity: number of sessions that new calls can use.
        sessions: number of open sessions.
        reserved: number of sessions reserved for calls that are being connected.
        free: number of sessions free for new calls.
        calls: number of running calls.
        served: number of calls that have ended.
        lost: number of calls that ended because their session failed.
        load: how close it is to its limits.
        refused: number of refused calls by cause.
        backends: the engine's servers; empty if it answers calls itself.
        has_history: whether it has the list of past calls that the page links to.
        version: of this program.
    """

    phase: Phase
    engine: str = ""
    engine_reason: str = ""
    refusal: str | None = None
    failure: str | None = None
    progress: str | None = None
    capabilities: Sequence[str] = ()
    supported_overrides: Sequence[str] = ()
    capacity: int = 0
    sessions: int = 0
    reserved: int = 0
    free: int = 0
    calls: int = 0
    served: int = 0
    lost: int = 0
    load: LoadStatus = LoadStatus()
    refused: Mapping[str, int] = field(default_factory=dict[str, int])
    backends: Sequence[BackendStatus] = ()
    has_history: bool = False
    version: str = VERSION

    @property
    def ready(self) -> bool:
        """Whether the next call would be answered, if a session is free."""
        return self.refusal is None

    def health(self, *, is_public: bool) -> dict[str, Any]:
        """Return the JSON of ``/healthz``.

        Args:
            is_public: whether strangers can read it. Machines are then numbered, not named.
        """
        report: dict[str, Any] = {
            "ready": self.ready,
            "error": self.refusal,
            "engine": self.engine,
            "capabilities": list(self.capabilities),
            "supported_overrides": list(self.supported_overrides),
            "capacity": self.capacity,
            "sessions": self.sessions,
            "free": self.free,
            "calls": self.calls,
            "served": self.served,
            "lost": self.lost,
            "load": {
                "lag_ms": round(self.load.lag_ms, 1),
                "deadline_misses": round(self.load.deadline_misses, 3),
                "overloaded": self.load.overloaded,
            },
            "refused": dict(self.refused),
            "version": self.version,
        }
        if self.backends:
            report["servers"] = [
                {
                    "name": f"server {number}" if is_public else backend.name,
                    "kind": backend.kind,
                    # The reason of a failure is in the log only.
                    "up": backend.error is None,
                    "calls": backend.calls,
                    "capacity": backend.capacity,
                }
                for number, backend in enumerate(self.backends, 1)
            ]
        return report

    def overview(self) -> dict[str, Any]:
        """Return the JSON of ``/calls``, without the calls. Only clients with access read it."""
        return {
            "state": self.phase,
            "progress": self.progress,
            "error": self.failure,
            "engine": self.engine,
            "engine_reason": self.engine_reason,
            "sessions": self.sessions,
            "capacity": self.capacity,
            "served": self.served,
            "refused": dict(self.refused),
            "has_history": self.has_history,
        }
