from __future__ import annotations

import base64

import pytest
from fastapi import HTTPException, Response
from starlette.requests import HTTPConnection

from moshi_phone.access.dashboard_auth import WRONG_DELAY_S, DashboardAuth, DashboardUnusable
from moshi_phone.access.known_devices import COOKIE
from moshi_phone.access.login_throttle import LoginThrottle
from moshi_phone.access.options import WebOptions
from moshi_phone.runtime.rate_limited_log import RateLimitedLog
from tests.support.logs import Logged

PASSWORD = "correct horse"


def request(
    host: str = "localhost:5001",
    peer: str = "127.0.0.1",
    password: str | None = None,
    more: list[tuple[str, str]] | None = None,
) -> HTTPConnection:
    headers = [("host", host), *(more or [])]
    if password is not None:
        headers.append(("authorization", "Basic " + base64.b64encode(f"me:{password}".encode()).decode()))
    return HTTPConnection(
        {
            "type": "http",
            "scheme": "http",
            "path": "/",
            "query_string": b"",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
            "client": (peer, 1234),
            "server": ("127.0.0.1", 5001),
        }
    )


async def status(dashboard_auth: DashboardAuth, request: HTTPConnection) -> int:
    try:
        await dashboard_auth.check(request)
    except HTTPException as refusal:
        return refusal.status_code
    return 200


class Locked:
    """A page behind a password, with an injected clock; sleeping takes no time."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s: list[float] = []
        self.auth = DashboardAuth(
            WebOptions(web=True, web_password=PASSWORD),
            lambda: True,
            LoginThrottle(lambda: self.now_s),
            sleep=self.sleep,
            _log=RateLimitedLog(lambda: self.now_s),
        )

    async def sleep(self, secs: float) -> None:
        self.slept_s.append(secs)

    async def asked(
        self, password: str | None, peer: str = "203.0.113.9", more: list[tuple[str, str]] | None = None
    ) -> int:
        return await status(self.auth, request("a.example", peer, password, more))

    def cookie(self) -> list[tuple[str, str]]:
        response = Response()
        self.auth.remember(request(), response)
        return [("cookie", response.headers["set-cookie"].partition(";")[0])]


@pytest.mark.parametrize("host", ["localhost:5001", "127.0.0.1", "[::1]:5001", "LocalHost"])
async def test_this_machine_is_admitted(host: str) -> None:
    assert await status(DashboardAuth(), request(host)) == 200


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("localhost", "203.0.113.9"),
        ("evil.example", "127.0.0.1"),
        ("a-b.trycloudflare.com", "127.0.0.1"),
        # For an invalid host, starlette's URL has our own address.
        ("a{b}.evil.com", "127.0.0.1"),
        ("evil.com:99999999", "127.0.0.1"),
        ("localhost:5001@evil.com", "127.0.0.1"),
        ("[::1].evil.com", "127.0.0.1"),
        ("loc\u00e4lhost", "127.0.0.1"),
        ("localhost evil.com", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
async def test_other_machines_are_refused(host: str, peer: str) -> None:
    assert await status(DashboardAuth(), request(host, peer)) == 403


async def test_a_request_with_two_hosts_or_none_does_not_count_as_local() -> None:
    two = request(more=[("host", "evil.example")])
    assert await status(DashboardAuth(), two) == 403
    none = request()
    none.scope["headers"].clear()
    assert await status(DashboardAuth(), none) == 403


async def test_a_public_server_without_web_refuses_everybody() -> None:
    assert await status(DashboardAuth(is_public=lambda: True), request()) == 403


async def test_with_web_every_request_needs_the_password() -> None:
    page = Locked()
    assert await page.asked(PASSWORD) == 200
    assert await page.asked("wrong") == 401
    assert await page.asked(None) == 401
    assert await status(page.auth, request()) == 401
    with pytest.raises(HTTPException) as refusal:
        await page.auth.check(request())
    assert (refusal.value.headers or {})["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Bearer abc", "Basic YWJj", ""])
async def test_malformed_credentials_are_refused(header: str) -> None:
    asked = request(more=[("authorization", header)])
    assert await status(Locked().auth, asked) == 401


async def test_a_wrong_password_is_answered_late_and_five_lock_the_source() -> None:
    page = Locked()
    for _ in range(5):
        assert await page.asked("wrong") == 401
    assert page.slept_s == [WRONG_DELAY_S] * 5
    assert await page.asked("wrong") == 429
    assert await page.asked(PASSWORD) == 429, "what a locked source shows is not looked at"
    assert await page.asked(None) == 401
    assert await page.asked(PASSWORD, "203.0.113.10") == 200
    with pytest.raises(HTTPException) as refusal:
        await page.auth.check(request("a.example", "203.0.113.9", PASSWORD))
    assert (refusal.value.headers or {})["Retry-After"] == "1"
    page.now_s += 1
    assert await page.asked(PASSWORD) == 200


@pytest.mark.slow
async def test_guesses_per_day_are_limited() -> None:
    page = Locked()
    record_probe = 0
    for _ in range(24 * 3600):
        page.now_s += 1
        record_probe += await page.asked("wrong") == 401
    assert record_probe < 1500


async def test_a_known_device_is_not_locked_out_by_others() -> None:
    page = Locked()
    cookie = page.cookie()
    for attempt in range(200):
        await page.asked("wrong", f"203.0.113.{attempt}")
        await page.asked("wrong")
    assert await page.asked(PASSWORD) == 429
    assert await page.asked(PASSWORD, "198.51.100.1") == 429, "all strangers together are too quick"
    assert await page.asked(PASSWORD, more=cookie) == 200
    assert await page.asked(None, more=cookie) == 401, "the cookie alone opens nothing"
    for _ in range(5):
        assert await page.asked("wrong", more=cookie) == 401
    assert await page.asked(PASSWORD, more=cookie) == 429, "nor does it allow guesses without end"


@pytest.mark.parametrize("value", ["", "x", "x.y", "ü.ö", "."])
async def test_a_foreign_cookie_does_not_identify_a_device(value: str) -> None:
    page = Locked()
    for _ in range(5):
        await page.asked("wrong")
    assert await page.asked(PASSWORD, more=[("cookie", f"{COOKIE}={value}")]) == 429


async def test_a_stranger_s_lock_out_ends_within_a_minute() -> None:
    """All requests share one source, as behind a proxy that names no client: a minute after the last guess,
    the lock ends.
    """
    page = Locked()
    for _ in range(3600):
        page.now_s += 1
        await page.asked("wrong", "127.0.0.1")
    page.now_s += 60
    assert await page.asked(PASSWORD, "127.0.0.1") == 200


async def test_guesses_are_all_counted_and_rarely_logged(logged: Logged) -> None:
    page = Locked()
    for second in range(60):
        page.now_s = 1000.0 + second
        for attempt in range(20):
            await page.asked("wrong", f"203.0.{second}.{attempt}")
    assert logged.text.count("Wrong password from 203.0.") == 6
    assert "more were not logged)" in logged.text
    assert "wrong\n" not in logged.text


@pytest.mark.parametrize(
    ("header", "value", "secure"),
    [
        ("x-forwarded-proto", "https", True),
        ("x-forwarded-proto", "HTTPS, http", True),
        ("forwarded", "for=192.0.2.1;Proto=https;by=10.0.0.1, for=10.0.0.1;proto=http", True),
        ("forwarded", 'proto="https"', True),
        ("x-forwarded-proto", "http, https", False),
        ("accept", "https", False),
    ],
)
def test_a_cookie_is_secure_if_a_proxy_forwards_https(header: str, value: str, secure: bool) -> None:
    response = Response()
    Locked().auth.remember(request("a.example", more=[(header, value)]), response)
    assert ("secure" in response.headers["set-cookie"].lower()) is secure


@pytest.mark.parametrize("password", [None, "", "short"])
def test_web_requires_a_password(password: str | None) -> None:
    with pytest.raises(DashboardUnusable, match="set MOSHI_WEB_PASSWORD"):
        DashboardAuth(WebOptions(web=True, web_password=password)).check_options()
    DashboardAuth(WebOptions(web_password=password)).check_options()


@pytest.mark.parametrize("password", ["größer als acht", "12345678\n"])
def test_a_password_that_browsers_encode_differently_is_refused(password: str) -> None:
    with pytest.raises(DashboardUnusable, match="printable ASCII"):
        DashboardAuth(WebOptions(web=True, web_password=password)).check_options()
