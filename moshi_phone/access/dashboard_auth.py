"""Who may see the browser phone and the metrics: this machine, or whoever knows the password."""

from __future__ import annotations

import asyncio
import hmac
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fastapi import HTTPException, Response
from fastapi.security import HTTPBasic
from starlette.requests import HTTPConnection

from moshi_phone.access.known_devices import KnownDevices
from moshi_phone.access.login_throttle import LoginThrottle
from moshi_phone.access.options import WebOptions
from moshi_phone.access.source import host_of, is_loopback, source_of
from moshi_phone.runtime.errors import UserError
from moshi_phone.runtime.rate_limited_log import RateLimitedLog

SHORTEST_PASSWORD = 8
WRONG_DELAY_S = 0.5
_NO_STORE = {"Cache-Control": "no-store"}
_FORWARDED_PROTO = re.compile(r'(?:^|;)\s*proto="?(\w+)')
_basic = HTTPBasic(realm="Moshi on the phone", auto_error=False)


class DashboardUnusable(UserError):
    """The options do not go together; the text says what to set."""


@dataclass(frozen=True)
class DashboardAuth:
    """Lets people look, or not. Use ``check`` as a dependency of a route.

    While the server is public, everybody must know the password: behind a proxy of one's own on the same
    machine, a stranger looks like a neighbour. A wrong password is answered late, and several lock their
    source (``login_throttle.py``); a device that has shown the right one is known again by its cookie,
    so that strangers cannot lock it out with theirs. The cookie alone opens nothing.

    Attributes:
        options: as they were given.
        is_public: says whether the server can be reached from elsewhere.
        throttle: counts wrong passwords.
        devices: knows those that have shown the right one.
        sleep: waits for seconds.
    """

    options: WebOptions = field(default_factory=WebOptions)
    is_public: Callable[[], bool] = lambda: False
    throttle: LoginThrottle = field(default_factory=LoginThrottle)
    devices: KnownDevices = field(default_factory=KnownDevices)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _log: RateLimitedLog = field(default_factory=RateLimitedLog)

    def check_options(self) -> None:
        """Make sure that the password is one.

        Raises:
            DashboardUnusable: when it is missing, too short, or cannot be sent.
        """
        password = self.options.web_password or ""
        if self.options.web and len(password) < SHORTEST_PASSWORD:
            raise DashboardUnusable(
                f"--web needs a password of {SHORTEST_PASSWORD} characters or more: set MOSHI_WEB_PASSWORD."
            )
        if self.options.web and not (password.isascii() and password.isprintable()):
            # Browsers differ in how they send others, and FastAPI's HTTPBasic reads ASCII.
            raise DashboardUnusable(
                "MOSHI_WEB_PASSWORD may hold letters from a to z, digits and signs, and no others."
            )

    async def check(self, request: HTTPConnection) -> None:
        """Let a request through.

        Raises:
            HTTPException: 401 where a password is wanted, 403 where nobody may look, 429 for who has shown
                too many wrong ones.
        """
        if self.options.web:
            await self._check_password(request)
        elif self.is_public():
            raise HTTPException(
                403,
                "This is off while the server is public; start it with --web and MOSHI_WEB_PASSWORD.",
                _NO_STORE,
            )
        elif not _is_local(request):
            raise HTTPException(403, "For this machine only.", _NO_STORE)

    def remember(self, request: HTTPConnection, response: Response) -> None:
        """Make a device that has just been let in known, where there is a password."""
        if self.options.web and self.devices.identify(request) is None:
            self.devices.issue_cookie(response, secure=_came_by_https(request))

    async def _check_password(self, request: HTTPConnection) -> None:
        given = await _basic(request)
        if given is None:
            raise _not_let_in()
        device = self.devices.identify(request)
        source, is_known = device or source_of(request), device is not None
        if wait_s := self.throttle.wait_s(source, is_known=is_known):
            secs = math.ceil(wait_s)
            raise HTTPException(
                429,
                f"Too many wrong passwords; try again in {secs} s.",
                {"Retry-After": str(secs)} | _NO_STORE,
            )
        # In constant time: how long it took would tell how much of a guess was right.
        if hmac.compare_digest(given.password.encode(), (self.options.web_password or "").encode()):
            self.throttle.passed(source)
            return
        # Counted before the delay: who asks a hundred times at once has asked a hundred times.
        failures = self.throttle.failed(source, is_known=is_known)
        self._log.warn(f"Wrong password for the page from {source_of(request)}, its number {failures}")
        await self.sleep(WRONG_DELAY_S)
        raise _not_let_in()


def _not_let_in() -> HTTPException:
    return HTTPException(401, "The password, please.", _basic.make_authenticate_headers() | _NO_STORE)


def _is_local(request: HTTPConnection) -> bool:
    """Tell whether a request comes from here and calls us so: any page can bend its own name to 127.0.0.1."""
    peer = request.client.host if request.client else ""
    return is_loopback(peer) and is_loopback(host_of(request))


def _came_by_https(request: HTTPConnection) -> bool:
    """Tell whether the browser speaks https, to us or to the first proxy before us."""
    proto = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    forwarded = _FORWARDED_PROTO.search(request.headers.get("forwarded", "").partition(",")[0].lower())
    return "https" in (request.url.scheme, proto, forwarded and forwarded[1])
