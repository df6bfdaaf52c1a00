"""What the manager needs of whoever starts processes: Ray, or a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from moshi_phone.cluster.actor_name import Kind
from moshi_phone.cluster.rpc import Transport
from moshi_phone.cluster.worker_spec import WorkerSpec


@dataclass(frozen=True)
class Survivor:
    """A process that an earlier command has left.

    Attributes:
        kind: a worker or a desk.
        number: w3's and d3's is 3.
        generation: that of the earlier command.
        is_current: whether it is set as this command would set it.
        handle: leads to it.
    """

    kind: Kind
    number: int
    generation: int
    is_current: bool
    handle: Any


class Runtime(Protocol):
    """Starts processes on whatever machines there are, and starts those again that die."""

    def start_worker(self, spec: WorkerSpec, number: int, generation: int) -> Any:
        """Start a worker; gives a handle that other processes can be sent. Returns at once."""

    def start_desk(self, name: str, number: int, generation: int) -> Any:
        """Start a desk on this machine; likewise."""

    def transport(self, handle: Any) -> Transport:
        """Give what leads to a process."""

    def kill(self, handle: Any, *, again: bool) -> None:
        """End a process at once; ``again`` has it started anew."""
