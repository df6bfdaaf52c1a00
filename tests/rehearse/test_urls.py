from __future__ import annotations

from moshi_phone.rehearse.urls import beside


def test_the_webhook_stands_beside_the_stream() -> None:
    assert beside("ws://127.0.0.1:5001/stream", "/twiml") == "http://127.0.0.1:5001/twiml"
    assert beside("wss://a.example/x/stream", "/twiml") == "https://a.example/x/twiml"
    assert beside("ws://127.0.0.1:5001/stream", "") == "http://127.0.0.1:5001"
