"""What the processes of a cluster show each other: a token for each request, and one for each reply.

As streams do (``access/tokens.py``), with a key of its own: HMAC, good for a minute, once, for one receiver.
A reply's token is bound to its request's. Machines must agree on the time to some seconds.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable

from moshi_phone.access.tokens import StreamTokens

_PURPOSE = b"moshi-phone cluster token 1"
_KEPT_SPENT_S = 600.0  # tokens live a minute, and there are several a second


class ClusterAuth:
    """Makes and takes the tokens of one process.

    Args:
        key: of the MAC; that of all processes of the cluster.
        clock: gives Unix seconds.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._tokens = StreamTokens(key, kept_spent_s=_KEPT_SPENT_S)
        self._clock = clock

    @classmethod
    def from_auth_token(cls, auth_token: str) -> ClusterAuth:
        """Derive the key from Twilio's auth token."""
        return cls(hmac.digest(auth_token.encode(), _PURPOSE, hashlib.sha256))

    def request(self, receiver: str) -> str:
        """Make a token that lets one request in at this receiver."""
        return self._tokens.mint(receiver, self._clock())

    def admit(self, token: object, receiver: str) -> str:
        """Accept a request's token, once; gives the one that the reply shows.

        Raises:
            TokenRefused: one of its subclasses, saying why.
        """
        self._tokens.spend(token, receiver, self._clock())
        return self._tokens.mint(_reply_to(str(token)), self._clock())

    def check_reply(self, reply: object, request: str) -> None:
        """Make sure that a reply comes from who has the key, and answers this request.

        Raises:
            TokenRefused: one of its subclasses, saying why.
        """
        self._tokens.spend(reply, _reply_to(request), self._clock())


def _reply_to(token: str) -> str:
    return f"reply-{token.rsplit('.', 2)[-2]}"
