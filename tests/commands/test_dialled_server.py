"""commands/dialled_server.py: what ``dial --url`` accepts, and what Twilio gets for it."""

from __future__ import annotations

import pytest

from moshi_phone.commands.dialled_server import MAX_PARAMETER_CHARS, next_url, persona_parameter, stream_url
from moshi_phone.commands.errors import Unusable
from moshi_phone.engines.options import EngineOptions


@pytest.mark.parametrize(
    ("text", "stream", "next_step"),
    [
        ("wss://a.com", "wss://a.com/stream", "https://a.com/twiml/next?resumes=0"),
        (
            "wss://a.com:8443/w1/stream/",
            "wss://a.com:8443/w1/stream",
            "https://a.com:8443/w1/twiml/next?resumes=0",
        ),
        ("wss://a.com/mine", "wss://a.com/mine", None),  # another program's: it may have no such webhook
    ],
)
def test_valid_urls(text: str, stream: str, next_step: str | None) -> None:
    assert stream_url(text) == stream
    assert next_url(stream) == next_step


@pytest.mark.parametrize(
    "text", ["ws://a.com/stream", "a.com", "wss://a.com/stream?x=1", "wss://a.com/#x", "wss://[::1"]
)
def test_invalid_stream_urls_are_rejected(text: str) -> None:
    with pytest.raises(Unusable, match=r"Expected --url wss://HOST/stream"):
        stream_url(text)


def test_a_persona_must_fit_into_a_parameter() -> None:
    longest = "a" * MAX_PARAMETER_CHARS
    assert persona_parameter(EngineOptions(persona=longest)) == longest
    with pytest.raises(Unusable, match="got 500"):
        persona_parameter(EngineOptions(persona=longest + "a"))
