"""The interface of a runtime, and the names by which a later command finds its actors."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from moshi_phone.cluster.rpc import Transport
from moshi_phone.cluster.worker_spec import WorkerSpec

Kind = Literal["worker", "gateway"]

_PURPOSE = b"moshi-phone cluster name 1"
_NAME = re.compile(
    r"moshi-(?P<account>[0-9a-f]{12})-(?P<kind>worker|gateway)-(?P<number>[0-9]{1,9})"
    r"-(?P<generation>[0-9]{1,9})-(?P<settings>[0-9a-f]{12})-(?P<nonce>[0-9a-f]{8})"
)


def digest(auth_token: str, text: str = "") -> str:
    """Return a keyed digest of a text that may hold secrets: 12 hexadecimal digits."""
    return hmac.digest(auth_token.encode(), _PURPOSE + text.encode(), hashlib.sha256).hex()[:12]


@dataclass(frozen=True)
class ActorName:
    """The name of an actor.

    Attributes:
        account: the ``digest`` of the cluster's auth token.
        kind: worker or gateway.
        number: 3 for w3 and d3.
        generation: the update that started it.
        settings: the ``digest`` of all its settings.
        nonce: 8 hexadecimal digits. Ray frees a name only some time after its process has ended.
    """

    account: str
    kind: Kind
    number: int
    generation: int
    settings: str
    nonce: str

    def __str__(self) -> str:
        """Format the name."""
        return (
            f"moshi-{self.account}-{self.kind}-{self.number}-{self.generation}-{self.settings}-{self.nonce}"
        )


def parse_actor_name(text: str) -> ActorName | None:
    """Parse a name; None if it is not an actor of this program."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    return ActorName(
        found["account"],
        "worker" if found["kind"] == "worker" else "gateway",
        int(found["number"]),
        int(found["generation"]),
        found["settings"],
        found["nonce"],
    )


@dataclass(frozen=True)
class ExistingActor:
    """A process started by an earlier command.

    Attributes:
        kind: worker or gateway.
        number: 3 for w3 and d3.
        generation: its generation under the earlier command.
        is_current: whether its settings equal this command's.
        handle: the runtime's handle.
    """

    kind: Kind
    number: int
    generation: int
    is_current: bool
    handle: Any


class Runtime(Protocol):
    """Starts processes on the cluster's machines, and restarts those that die."""

    def start_worker(self, spec: WorkerSpec, number: int, generation: int) -> Any:
        """Start a worker; return a handle that can be sent to other processes. Does not block."""

    def start_gateway(self, name: str, number: int, generation: int) -> Any:
        """Start a gateway on this machine; return its handle. Does not block."""

    def transport(self, handle: Any) -> Transport:
        """Return the transport to a process."""

    def kill(self, handle: Any, *, again: bool) -> None:
        """Kill a process; ``again`` restarts it."""
