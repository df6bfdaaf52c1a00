"""server/web/page_file.py: files of another machine, by range, and a machine that stops answering."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request, Response

from moshi_phone.server.net.http_server import uvicorn_config
from moshi_phone.server.web.page_file import PIECE_BYTES, RemoteFile, byte_range, file_response
from tests.support.logs import Logged
from tests.support.phone import serving_app


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", None),
        ("bytes=0-", (0, 10)),
        ("bytes=2-4", (2, 5)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=12-", (12, 10)),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        (f"bytes={'9' * 5_000}-", None),
    ],
)
def test_a_range_is_read(header: str, found: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == found


async def test_a_machine_that_stops_answering_ends_the_response(logged: Logged) -> None:
    async def read(start: int, count: int) -> bytes:
        if start:
            raise HTTPException(503, "w1 does not answer.")
        return bytes(count)

    app = FastAPI()

    @app.get("/")
    async def file(request: Request) -> Response:
        return file_response(RemoteFile(2 * PIECE_BYTES, read), request, "audio/wav", {})

    async with serving_app(uvicorn_config(app)) as address, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError, match=f"received {PIECE_BYTES} bytes"):
            await client.get(f"http://{address}/")
    assert "A recording was sent in part: w1 does not answer." in logged.text
    assert "Traceback" not in logged.text
