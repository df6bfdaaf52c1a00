"""What the manager needs of whoever starts processes: Ray, or a test."""

# Tested in tests/cluster/test_manager.py by way of cluster/manager.py.

from __future__ import annotations

from typing import Any, Protocol

from cluster.asking import Transport
from cluster.worker_spec import WorkerSpec


class Runtime(Protocol):
    """Starts processes on whatever machines there are, and starts those again that die."""

    def start_worker(self, spec: WorkerSpec) -> Any:
        """Start a worker; gives a handle that other processes can be sent. Returns at once."""

    def start_desk(self, name: str) -> Any:
        """Start a desk on this machine; likewise."""

    def transport(self, handle: Any) -> Transport:
        """Give what leads to a process."""

    def kill(self, handle: Any, *, again: bool) -> None:
        """End a process at once; ``again`` has it started anew."""
