"""access/source.py: whom a request comes from."""

from __future__ import annotations

import pytest

from moshi_phone.access.source import source_of
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
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # nobody's proxy: the client wrote it
        ("", [], "an unknown address"),
    ],
)
def test_whom_a_request_comes_from(peer: str, forwarded: list[str], source: str) -> None:
    assert source_of(request(peer=peer, more=[("x-forwarded-for", each) for each in forwarded])) == source
