"""Access control of the browser phone and the metrics: from this machine, or with the password."""

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

MIN_PASSWORD_CHARS = 8
WRONG_DELAY_S = 0.5
_NO_STORE = {"Cache-Control": "no-store"}
_FORWARDED_PROTO = re.compile(r'(?:^|;)\s*proto="?(\w+)')
_basic = HTTPBasic(realm="Moshi on the phone", auto_error=False)


class DashboardUnusable(UserError):
    """The options conflict; the text states the one to set."""


@dataclass(frozen=True)
class DashboardAuth:
    """Guards the pages. Use ``check`` as a dependency of a route.

    While the server is public, everybody needs the password: behind a proxy on the same machine, remote
    requests look local. A wrong password is answered late, and several lock their source
    (``login_throttle.py``); a device that has sent the right one is recognised by its cookie, so that
    strangers cannot lock it out. The cookie alone grants no access.

    Attributes:
        options: as they were given.
        is_public: returns whether the server can be reached from other machines.
        throttle: counts wrong passwords.
        devices: recognises devices that have sent it.
        sleep: waits for seconds.
    """

    options: WebOptions = field(default_factory=WebOptions)
    is_public: Callable[[], bool] = lambda: False
    throttle: LoginThrottle = field(default_factory=LoginThrottle)
    devices: KnownDevices = field(default_factory=KnownDevices)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _log: RateLimitedLog = field(default_factory=RateLimitedLog)

    def check_options(self) -> None:
        """Check that the password can be used.

        Raises:
            DashboardUnusable: when it is missing, too short, or cannot be sent.
        """
        password = self.options.web_password or ""
        if self.options.web and len(password) < MIN_PASSWORD_CHARS:
            raise DashboardUnusable(
                f"--web needs a password of {MIN_PASSWORD_CHARS} characters or more: set MOSHI_WEB_PASSWORD."
            )
        if self.options.web and not (password.isascii() and password.isprintable()):
            # Browsers differ in how they send others, and FastAPI's HTTPBasic reads ASCII.
            raise DashboardUnusable("MOSHI_WEB_PASSWORD may contain printable ASCII characters only.")

    async def check(self, request: HTTPConnection) -> None:
        """Admit a request, or raise.

        Raises:
            HTTPException: 401 without the password, 403 where the pages are off, 429 after too many wrong
                passwords.
        """
        if self.options.web:
            await self._check_password(request)
        elif self.is_public():
            raise HTTPException(
                403,
                "Off while the server is public; start it with --web and MOSHI_WEB_PASSWORD.",
                _NO_STORE,
            )
        elif not _is_local(request):
            raise HTTPException(403, "Available on this machine only.", _NO_STORE)

    def remember(self, request: HTTPConnection, response: Response) -> None:
        """Issue a cookie to a newly admitted device, if there is a password."""
        if self.options.web and self.devices.identify(request) is None:
            self.devices.issue_cookie(response, secure=_came_by_https(request))

    async def _check_password(self, request: HTTPConnection) -> None:
        given = await _basic(request)
        if given is None:
            raise _unauthorized()
        # A known device has a lock of its own: others behind its address cannot lock it out.
        device = self.devices.identify(request)
        source, is_known = device or source_of(request), device is not None
        if wait_s := self.throttle.wait_s(source, is_known=is_known):
            secs = math.ceil(wait_s)
            raise HTTPException(
                429,
                f"Too many wrong passwords; try again in {secs} s.",
                {"Retry-After": str(secs)} | _NO_STORE,
            )
        # In constant time, so that a guess reveals nothing about its correct part.
        if hmac.compare_digest(given.password.encode(), (self.options.web_password or "").encode()):
            self.throttle.passed(source)
            return
        # Counted before the delay, so that a hundred parallel requests count as a hundred.
        failures = self.throttle.failed(source, is_known=is_known)
        self._log.warn(f"Wrong password from {source_of(request)} (number {failures})")
        await self.sleep(WRONG_DELAY_S)
        raise _unauthorized()


def _unauthorized() -> HTTPException:
    return HTTPException(401, "Password required.", _basic.make_authenticate_headers() | _NO_STORE)


def _is_local(request: HTTPConnection) -> bool:
    """Return whether a request is local in address and host name: DNS can point any name to 127.0.0.1."""
    peer = request.client.host if request.client else ""
    return is_loopback(peer) and is_loopback(host_of(request))


def _came_by_https(request: HTTPConnection) -> bool:
    """Return whether the browser uses https, to us or to the first proxy in front of us."""
    proto = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    forwarded = _FORWARDED_PROTO.search(request.headers.get("forwarded", "").partition(",")[0].lower())
    return "https" in (request.url.scheme, proto, forwarded and forwarded[1])
