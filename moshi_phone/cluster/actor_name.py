"""What a process is called that outlives the command, so that the next one knows whose it is. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["worker", "desk"]

_PURPOSE = b"moshi-phone cluster name 1"
_NAME = re.compile(
    r"moshi-(?P<account>[0-9a-f]{12})-(?P<kind>worker|desk)-(?P<number>[0-9]{1,9})"
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
        kind: a worker or a desk.
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
        "worker" if found["kind"] == "worker" else "desk",
        int(found["number"]),
        int(found["generation"]),
        found["settings"],
        found["nonce"],
    )
