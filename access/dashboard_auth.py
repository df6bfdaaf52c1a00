"""Who may see the browser phone and the figures: this machine, or whoever knows the password."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import HTTPException
from starlette.requests import HTTPConnection

from access.loopback import is_loopback
from access.options import WebOptions

SHORTEST_PASSWORD = 8
_NO_STORE = {"Cache-Control": "no-store"}


class DashboardUnusable(Exception):
    """The options do not go together; the text says what to set."""


@dataclass(frozen=True)
class DashboardAuth:
    """Lets people look, or not. Use ``check`` as a dependency of a route.

    While the server is public, everybody must know the password: behind a proxy of one's own on the same
    machine, a stranger looks like a neighbour.

    Attributes:
        options: as they were given.
        is_public: says whether the server can be reached from elsewhere.
    """

    options: WebOptions = field(default_factory=WebOptions)
    is_public: Callable[[], bool] = lambda: False

    def check_options(self) -> None:
        """Make sure that the password is one.

        Raises:
            DashboardUnusable: when it is missing or too short.
        """
        if self.options.web and len(self.options.web_password or "") < SHORTEST_PASSWORD:
            raise DashboardUnusable(
                f"--web needs a password of {SHORTEST_PASSWORD} characters or more: set MOSHI_WEB_PASSWORD."
            )

    def check(self, request: HTTPConnection) -> None:
        """Let a request through.

        Raises:
            HTTPException: 401 where a password is wanted, 403 where nobody may look.
        """
        if self.options.web:
            if not self._knows_password(request.headers.get("authorization", "")):
                asking = {"WWW-Authenticate": 'Basic realm="Moshi on the phone", charset="UTF-8"'}
                raise HTTPException(401, "The password, please.", asking | _NO_STORE)
        elif self.is_public():
            raise HTTPException(
                403, "Off while the server is public; start it with --web and MOSHI_WEB_PASSWORD.", _NO_STORE
            )
        elif not _is_local(request):
            raise HTTPException(403, "For this machine only.", _NO_STORE)

    def _knows_password(self, header: str) -> bool:
        scheme, _, credentials = header.partition(" ")
        try:
            decoded = base64.b64decode(credentials, validate=True)
        except (binascii.Error, ValueError):
            return False
        _, _, password = decoded.partition(b":")
        wanted = (self.options.web_password or "").encode()
        return scheme.lower() == "basic" and hmac.compare_digest(password, wanted)


def _is_local(request: HTTPConnection) -> bool:
    """Tell whether a request comes from here and calls us so: any page can bend its own name to 127.0.0.1."""
    peer = request.client.host if request.client else ""
    return is_loopback(peer) and is_loopback(request.url.hostname or "")
