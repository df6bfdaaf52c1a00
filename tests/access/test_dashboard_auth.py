from __future__ import annotations

import base64

import pytest
from fastapi import HTTPException
from starlette.requests import HTTPConnection

from access.dashboard_auth import DashboardAuth, DashboardUnusable
from access.options import WebOptions

PASSWORD = "correct horse"


def request(
    host: str = "localhost:5001", peer: str = "127.0.0.1", password: str | None = None
) -> HTTPConnection:
    headers = [(b"host", host.encode())]
    if password is not None:
        headers.append((b"authorization", b"Basic " + base64.b64encode(f"me:{password}".encode())))
    return HTTPConnection(
        {
            "type": "http",
            "scheme": "http",
            "path": "/",
            "query_string": b"",
            "headers": headers,
            "client": (peer, 1234),
            "server": ("127.0.0.1", 5001),
        }
    )


def status(dashboard_auth: DashboardAuth, request: HTTPConnection) -> int:
    try:
        dashboard_auth.check(request)
    except HTTPException as refusal:
        return refusal.status_code
    return 200


@pytest.mark.parametrize("host", ["localhost:5001", "127.0.0.1", "[::1]:5001"])
def test_this_machine_may_look(host: str) -> None:
    assert status(DashboardAuth(), request(host)) == 200


@pytest.mark.parametrize(
    ("host", "peer"),
    [("localhost", "203.0.113.9"), ("evil.example", "127.0.0.1"), ("a-b.trycloudflare.com", "127.0.0.1")],
)
def test_nobody_else_may(host: str, peer: str) -> None:
    assert status(DashboardAuth(), request(host, peer)) == 403


def test_while_the_server_is_public_nobody_may_without_the_option() -> None:
    assert status(DashboardAuth(is_public=lambda: True), request()) == 403


def test_with_the_option_everybody_must_know_the_password() -> None:
    dashboard_auth = DashboardAuth(WebOptions(web=True, web_password=PASSWORD), lambda: True)
    assert status(dashboard_auth, request("a.example", "203.0.113.9", PASSWORD)) == 200
    assert status(dashboard_auth, request("a.example", "203.0.113.9", "wrong")) == 401
    assert status(dashboard_auth, request()) == 401
    with pytest.raises(HTTPException) as refusal:
        dashboard_auth.check(request())
    assert (refusal.value.headers or {})["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Bearer abc", "Basic YWJj", ""])
def test_what_is_no_password_is_none(header: str) -> None:
    dashboard_auth = DashboardAuth(WebOptions(web=True, web_password=PASSWORD))
    asked = request()
    asked.scope["headers"].append((b"authorization", header.encode()))
    assert status(dashboard_auth, asked) == 401


@pytest.mark.parametrize("password", [None, "", "short"])
def test_the_option_needs_a_password(password: str | None) -> None:
    with pytest.raises(DashboardUnusable, match="set MOSHI_WEB_PASSWORD"):
        DashboardAuth(WebOptions(web=True, web_password=password)).check_options()
    DashboardAuth(WebOptions(web_password=password)).check_options()
