"""Files of the Calls page: on this machine, or sent piece by piece by another one of a cluster."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from loguru import logger
from starlette.types import Send

PIECE_BYTES = 64 * 1024  # a larger answer would take Ray's object store
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


@dataclass(frozen=True)
class RemoteFile:
    """A file on another machine.

    Attributes:
        size: in bytes; it may grow while its call runs.
        read: returns up to ``PIECE_BYTES`` bytes, from a position on.
    """

    size: int
    read: Callable[[int, int], Awaitable[bytes]]


def file_response(
    file: Path | RemoteFile, request: Request, media_type: str, headers: Mapping[str, str]
) -> Response:
    """Answer a request for a file, whole or by HTTP range.

    Raises:
        HTTPException: 416 for a range behind its end.
    """
    if isinstance(file, Path):
        return FileResponse(file, media_type=media_type, headers=headers)
    wanted = byte_range(request.headers.get("range", ""), file.size)
    start, end = wanted or (0, file.size)
    if wanted and start >= end:
        raise HTTPException(416, "the file is shorter", {"Content-Range": f"bytes */{file.size}"})
    sized = {**headers, "Accept-Ranges": "bytes", "Content-Length": str(end - start)}
    if wanted:
        sized["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    return _RemoteResponse(_pieces(file, start, end), 206 if wanted else 200, sized, media_type)


class _RemoteResponse(StreamingResponse):
    """Aborts if the other machine stops answering; the server then closes the connection."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except HTTPException as error:
            logger.warning("A recording was sent in part: {}", error.detail)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Return begin and end (exclusive) of a header's range; None for the whole file.

    Args:
        header: of the request; several ranges, or another unit, mean the whole file (RFC 9110, 14.2).
        size: of the file, in bytes.
    """
    found = _RANGE.fullmatch(header.strip())
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:  # the last bytes
        return max(0, size - int(last)), size
    end = min(int(last) + 1, size) if last else size
    return int(first), max(end, 0)


async def _pieces(file: RemoteFile, start: int, end: int) -> AsyncIterator[bytes]:
    while start < end:
        piece = await file.read(start, min(PIECE_BYTES, end - start))
        if not piece:
            return  # it was deleted, or has become shorter
        yield piece
        start += len(piece)


def read_piece(path: Path, start: int, count: int) -> bytes:
    """Read some bytes of a file, from a position on; blocks."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(count)


def size_of(path: Path) -> int | None:
    """Return a file's size in bytes; None without it. Blocks."""
    return path.stat().st_size if path.is_file() else None
