"""access/public_address.py: a public URL is normalized, however it is written."""

from __future__ import annotations

import pytest

from moshi_phone.access.public_address import (
    STREAM_PATH,
    TWIML_PATH,
    BadPublicUrl,
    PublicAddress,
    parse_public_url,
)


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://phone.example.com", "https://phone.example.com"),
        ("https://Phone.Example.com/", "https://phone.example.com"),
        ("wss://phone.example.com", "https://phone.example.com"),
        (" phone.example.com ", "https://phone.example.com"),
        ("phone.example.com:8443", "https://phone.example.com:8443"),
        ("https://example.com/moshi/", "https://example.com/moshi"),
    ],
)
def test_public_urls_are_normalized(given: str, base: str) -> None:
    assert parse_public_url(given) == base


@pytest.mark.parametrize(
    "given",
    [
        "",
        "http://a.com",
        "ws://a.com",
        "https://",
        "https://a.com/?x=1",
        "https://a.com/#x",
        "https://u:p@a.com",
        "https://a.com:99999",
        "https://[::1",
    ],
)
def test_other_urls_are_rejected(given: str) -> None:
    with pytest.raises(BadPublicUrl, match=r"expected a public URL such as https://phone\.example\.com, got"):
        parse_public_url(given)


@pytest.mark.parametrize("path", ["/twiml", "/twiml/", "/stream", "/healthz", "/moshi/twiml"])
def test_a_url_with_one_of_our_paths_is_reported(path: str) -> None:
    base = "https://a.com" + ("/moshi" if "moshi" in path else "")
    with pytest.raises(BadPublicUrl, match=f"which is added to it: {base}, got"):
        parse_public_url(f"https://a.com{path}")


def test_paths_are_appended() -> None:
    address = PublicAddress("https://example.com/moshi")
    assert address.https(TWIML_PATH) == "https://example.com/moshi/twiml"
    assert address.wss(STREAM_PATH) == "wss://example.com/moshi/stream"
    address.base = None
    assert address.https(TWIML_PATH) is None
    assert address.wss(STREAM_PATH) is None
