from __future__ import annotations

import pytest

from moshi_phone.runtime.urls import beside, split_url


def test_a_url_has_its_parts() -> None:
    parts = split_url(" wss://Phone.example.com:5001/stream ")
    assert (parts.scheme, parts.hostname, parts.port, parts.path) == (
        "wss",
        "phone.example.com",
        5001,
        "/stream",
    )


@pytest.mark.parametrize("text", ["https://[::1", "https://a.com:99999", "https://a.com:b", "https://a]b/"])
def test_an_invalid_url_has_no_parts(text: str) -> None:
    assert not any(split_url(text))


def test_the_webhook_s_url_is_beside_the_stream_s() -> None:
    assert beside("ws://127.0.0.1:5001/stream", "/twiml") == "http://127.0.0.1:5001/twiml"
    assert beside("wss://a.example/x/stream", "/twiml") == "https://a.example/x/twiml"
    assert beside("ws://127.0.0.1:5001/stream", "") == "http://127.0.0.1:5001"
