"""The values of --server."""

from __future__ import annotations

import pytest

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.remote.server import parse_server


@pytest.mark.parametrize(
    ("given", "name", "url", "kind"),
    [
        ("ws://gpu-1:8998", "gpu-1:8998", "ws://gpu-1:8998/api/chat", "kyutai"),
        ("http://gpu-1:8998/", "gpu-1:8998", "ws://gpu-1:8998/api/chat", "kyutai"),
        ("wss://GPU-2:8998#rust", "gpu-2:8998", "wss://gpu-2:8998/api/chat", "rust"),
        (
            "https://moshi.example.com",
            "moshi.example.com:443",
            "wss://moshi.example.com:443/api/chat",
            "kyutai",
        ),
        ("ws://moshi.example.com", "moshi.example.com:80", "ws://moshi.example.com:80/api/chat", "kyutai"),
        ("ws://[::1]:8998#personaplex", "[::1]:8998", "ws://[::1]:8998/api/chat", "personaplex"),
        ("wss://h/gpu/1/api/chat?worker=3", "h:443", "wss://h:443/gpu/1/api/chat?worker=3", "kyutai"),
    ],
)
def test_valid_values(given: str, name: str, url: str, kind: str) -> None:
    server = parse_server(given, "kyutai")
    assert (server.name, server.url, server.profile.kind) == (name, url, kind)
    assert server.is_encrypted == url.startswith("wss")


def test_a_server_s_own_kind_overrides_the_common_one() -> None:
    assert parse_server("ws://a:1", "personaplex").profile.kind == "personaplex"
    assert parse_server("ws://a:1#kyutai", "personaplex").profile.kind == "kyutai"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gpu-1:8998", "expected a URL like ws://gpu-1:8998, got 'gpu-1:8998'"),
        ("", "expected a URL like ws://gpu-1:8998, got ''"),
        ("ftp://gpu-1", "expected a URL like ws://gpu-1:8998, got 'ftp://gpu-1'"),
        ("ws://gpu-1:99999", "expected a URL like ws://gpu-1:8998, got 'ws://gpu-1:99999'"),
        ("ws://gpu-1:1#whisper", "expected one of kyutai, rust, personaplex after the #, got 'whisper'"),
        ("ws://gpu-1:1?seed=1#personaplex", "NVIDIA's PersonaPlex server breaks on 'seed' in the query"),
    ],
)
def test_invalid_values_are_refused_in_one_sentence(given: str, said: str) -> None:
    with pytest.raises(EngineUnavailable) as refused:
        parse_server(given, "kyutai")
    assert said in str(refused.value)


@pytest.mark.parametrize("given", ["ws://me:s3cret@gpu-1:8998", "me:s3cret@gpu-1"])
def test_a_password_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(EngineUnavailable, match="one with a password") as refused:
        parse_server(given, "kyutai")
    assert "s3cret" not in str(refused.value)


def test_a_call_s_query_is_added_to_that_of_the_url() -> None:
    server = parse_server("ws://h:1?worker=3&text_topk=9", "rust")
    assert server.chat_url({"text_topk": "25", "text_prompt": "a & b"}) == (
        "ws://h:1/api/chat?worker=3&text_topk=25&text_prompt=a+%26+b"
    )
    assert server.chat_url({}) == "ws://h:1/api/chat?worker=3&text_topk=9"


def test_the_probe_has_no_query() -> None:
    assert parse_server("wss://h:1/api/chat?text_prompt=x", "kyutai").probe_url == "https://h:1/api/chat"
