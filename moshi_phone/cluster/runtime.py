"""What the manager needs of a runtime, and the names by which its actors are found again."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from moshi_phone.cluster.rpc import Transport
from moshi_phone.cluster.worker_client import WorkerSpec

Kind = Literal["worker", "gateway"]

_PURPOSE = b"moshi-phone cluster name 1"
_NAME = re.compile(
    r"moshi-(?P<account>[0-9a-f]{12})-(?P<kind>worker|gateway)-(?P<number>[0-9]{1,9})"
    r"-(?P<generation>[0-9]{1,9})-(?P<settings>[0-9a-f]{12})-(?P<nonce>[0-9a-f]{8})"
)


def digest(auth_token: str, text: str = "") -> str:
    """Shorten a text that may hold secrets, for who has the auth token to compare; 12 hexadecimal digits."""
    return hmac.digest(auth_token.encode(), _PURPOSE + text.encode(), hashlib.sha256).hex()[:12]


@dataclass(frozen=True)
class ActorName:
    """What a process is called.

    Attributes:
        account: the ``digest`` of the auth token, which is the cluster's.
        kind: a worker or a gateway.
        number: w3's and d3's is 3.
        generation: counts updates.
        settings: the ``digest`` of all that it was set by.
        nonce: 8 hexadecimal digits; a name is free again only some time after its process has ended.
    """

    account: str
    kind: Kind
    number: int
    generation: int
    settings: str
    nonce: str

    def __str__(self) -> str:
        """Write it."""
        return (
            f"moshi-{self.account}-{self.kind}-{self.number}-{self.generation}-{self.settings}-{self.nonce}"
        )


def parse_actor_name(text: str) -> ActorName | None:
    """Read a name; None where it is none of ours."""
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
    """A process that an earlier command has left.

    Attributes:
        kind: a worker or a gateway.
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

    def start_gateway(self, name: str, number: int, generation: int) -> Any:
        """Start a gateway on this machine; likewise."""

    def transport(self, handle: Any) -> Transport:
        """Give what leads to a process."""

    def kill(self, handle: Any, *, again: bool) -> None:
        """End a process at once; ``again`` restarts it."""
