from __future__ import annotations

import pytest

from moshi_phone.engines.remote.pinning import names

NAMES = (("DNS", "gpu-1.example.com"), ("DNS", "*.farm.example.com"), ("IP Address", "10.0.0.7"))
CERTIFICATE = {"subjectAltName": NAMES}


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("gpu-1.example.com", True),
        ("GPU-1.Example.com.", True),
        ("a.farm.example.com", True),
        ("a.b.farm.example.com", False),
        ("farm.example.com", False),
        ("example.com", False),
        ("10.0.0.7", True),
        ("10.0.0.8", False),
        ("", False),
    ],
)
def test_the_hosts_that_a_certificate_covers(host: str, fits: bool) -> None:
    assert names(CERTIFICATE, host) is fits


def test_a_wildcard_for_a_top_level_domain_covers_no_host() -> None:
    assert not names({"subjectAltName": (("DNS", "*.com"),)}, "example.com")
