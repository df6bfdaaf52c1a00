from __future__ import annotations

import pytest
from fastapi import HTTPException, Request

from moshi_phone.access.request_body import parse_json, read_body


def request(*messages: dict[str, object]) -> Request:
    waiting = list(messages)

    async def receive() -> dict[str, object]:
        return waiting.pop(0)

    return Request({"type": "http", "headers": []}, receive)


def part(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_in_chunks_is_joined() -> None:
    assert await read_body(request(part(b"ab", more=True), part(b"cd", more=False)), 4) == b"abcd"


async def test_a_body_that_is_too_long_is_not_read_completely() -> None:
    with pytest.raises(HTTPException) as refused:
        await read_body(request(part(b"abc", more=True), part(b"de", more=True)), 4)
    assert (refused.value.status_code, refused.value.detail) == (413, "expected at most 4 bytes")


async def test_a_client_that_disconnects_causes_no_traceback() -> None:
    with pytest.raises(HTTPException) as refused:
        await read_body(request(part(b"ab", more=True), {"type": "http.disconnect"}), 4)
    assert refused.value.status_code == 400


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
        (b"{", "application/json", 422),
        (b"\xff", "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
    ],
)
def test_invalid_json_is_rejected(body: bytes, content_type: str, status: int) -> None:
    with pytest.raises(HTTPException) as refused:
        parse_json(body, content_type)
    assert refused.value.status_code == status


def test_json_with_a_charset_is_accepted() -> None:
    assert parse_json('{"text": "Grüezi"}'.encode(), "Application/JSON; charset=utf-8") == {"text": "Grüezi"}
