"""access/exposure.py: a server that anybody could use does not start, unless --insecure is given."""

from __future__ import annotations

import pytest

from moshi_phone.access.exposure import Exposed, check_exposure


def check(
    host: str = "127.0.0.1",
    public_url: str | None = None,
    tunnel: bool = False,
    auth_token: str | None = None,
    insecure: bool = False,
) -> None:
    check_exposure(host=host, public_url=public_url, tunnel=tunnel, auth_token=auth_token, insecure=insecure)


@pytest.mark.parametrize(
    ("opening", "options"),
    [
        ("--tunnel", {"tunnel": True}),
        ("--public-url", {"public_url": "https://a.com"}),
        ("--host 0.0.0.0", {"host": "0.0.0.0"}),  # noqa: S104
        ("--host ::", {"host": "::"}),
        ("--host phone.lan", {"host": "phone.lan"}),
    ],
)
def test_an_exposed_server_is_detected(opening: str, options: dict[str, object]) -> None:
    with pytest.raises(Exposed, match=f"^{opening} opens this server to everybody: set TWILIO_AUTH"):
        check(**options)  # type: ignore[arg-type]
    check(**options, auth_token="x")  # type: ignore[arg-type]
    check(**options, insecure=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_local_server_is_not_exposed(host: str) -> None:
    check(host=host)
