from __future__ import annotations

import pytest
from fastapi import HTTPException, Request

from access.request_body import read_body


def request(*messages: dict[str, object]) -> Request:
    waiting = list(messages)

    async def receive() -> dict[str, object]:
        return waiting.pop(0)

    return Request({"type": "http", "headers": []}, receive)


def part(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_in_parts() -> None:
    assert await read_body(request(part(b"ab", more=True), part(b"cd", more=False)), 4) == b"abcd"


async def test_one_that_is_too_long_is_not_read_to_its_end() -> None:
    with pytest.raises(HTTPException) as refused:
        await read_body(request(part(b"abc", more=True), part(b"de", more=True)), 4)
    assert (refused.value.status_code, refused.value.detail) == (413, "expected at most 4 bytes")


async def test_a_client_that_goes_away_is_no_traceback() -> None:
    with pytest.raises(HTTPException) as refused:
        await read_body(request(part(b"ab", more=True), {"type": "http.disconnect"}), 4)
    assert refused.value.status_code == 400
