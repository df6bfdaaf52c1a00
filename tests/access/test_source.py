"""access/source.py: the source address of a request."""

from __future__ import annotations

import pytest

from moshi_phone.access.source import is_loopback, source_of
from tests.access.test_dashboard_auth import request


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("::ffff:203.0.113.9", [], "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("::1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["nonsense"], "127.0.0.1"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # not from a proxy: the client wrote it
        ("", [], "an unknown address"),
    ],
)
def test_the_source_of_a_request(peer: str, forwarded: list[str], source: str) -> None:
    assert source_of(request(peer=peer, more=[("x-forwarded-for", each) for each in forwarded])) == source


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_local_requests_are_recognized(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "example.com", "127.1", ""])  # noqa: S104
def test_other_addresses_are_not_local(host: str) -> None:
    assert not is_loopback(host)
