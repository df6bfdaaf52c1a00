from __future__ import annotations

import pytest

from moshi_phone.access.loopback import is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "example.com", "127.1", ""])  # noqa: S104
def test_others_or_all_of_its_addresses(host: str) -> None:
    assert not is_loopback(host)
