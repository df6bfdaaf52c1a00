"""A Hugging Face hub on the loopback, as its documentation describes it: files of one repo, with ranges.

Set ``HF_ENDPOINT`` to its ``url`` before ``huggingface_hub`` is imported, in a separate process.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.fakes.http_server import serving_http

COMMIT = "c0ffee" * 6 + "c0ff"  # 40 hexadecimal digits


@dataclass
class FakeHub:
    """Serves a folder's files as those of ``repo``.

    Attributes:
        repo: its name.
        folder: its files.
        requests: method, file and range of every request.
        gated: whether its licence must be accepted first, and was not.
        break_off_after_bytes: by file, the bytes sent before the connection breaks.
    """

    repo: str
    folder: Path
    requests: list[tuple[str, str, str | None]] = field(default_factory=list[tuple[str, str, str | None]])
    gated: bool = False
    break_off_after_bytes: dict[str, int] = field(default_factory=dict[str, int])
    _hashes: dict[tuple[Path, int, int], str] = field(default_factory=dict[tuple[Path, int, int], str])

    def __enter__(self) -> FakeHub:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

            def _answer(self) -> None:
                hub._answer(self)

        self._serving = serving_http(Handler)
        self.url = self._serving.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.__exit__(None, None, None)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", request.path)
        wanted = request.headers.get("Range")
        if not found or found[1] != self.repo or found[2] not in ("main", COMMIT):
            return self._refuse(request, "RepoNotFound")
        if self.gated:
            return self._refuse(request, "GatedRepo", 403)
        self.requests.append((request.command, found[3], wanted))
        path = self.folder / found[3]
        if not path.is_file():
            return self._refuse(request, "EntryNotFound")
        size = path.stat().st_size
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        request.send_response(206 if wanted else 200)
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("ETag", f'"{self._sha256(path)}"')
        request.send_header("Content-Length", str(size - start))
        if wanted:
            request.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        request.end_headers()
        if request.command == "GET":
            end = self.break_off_after_bytes.get(found[3], size)
            with path.open("rb") as file, suppress(ConnectionError):
                file.seek(start)
                shutil.copyfileobj(io.BytesIO(file.read(max(0, end - start))), request.wfile)
            if end < size:
                request.close_connection = True
        return None

    def _sha256(self, path: Path) -> str:
        """Return the hash that the hub reports for large files; cached, because a file of some hundred MB is
        requested often.
        """
        about = path.stat()
        key = (path, about.st_size, about.st_mtime_ns)
        if key not in self._hashes:
            with path.open("rb") as file:
                self._hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._hashes[key]

    def _refuse(self, request: BaseHTTPRequestHandler, code: str, status: int = 404) -> None:
        request.send_response(status)
        request.send_header("X-Error-Code", code)
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Content-Length", "0")
        request.end_headers()
