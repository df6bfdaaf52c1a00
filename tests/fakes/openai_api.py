"""A small server that speaks OpenAI's chat completions API, streaming, as Ollama and llama.cpp do."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.http_server import serving_http


@dataclass(frozen=True)
class ToolCall:
    """An answer that calls a function."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])


HANG = "(hang)"
FAIL = "(fail)"


@dataclass
class FakeOpenAi:
    """Gives its answers in order, and a hyphen when none is left.

    Attributes:
        answers: words, a ``ToolCall``, ``HANG`` (no answer until the end) or ``FAIL`` (status 500).
        requests: the bodies that came.
        url: for ``base_url``.
    """

    answers: list[str | ToolCall] = field(default_factory=list[str | ToolCall])
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)

    def messages(self, request: int) -> list[tuple[str, Any]]:
        """Role and content of a request's messages."""
        return [(one["role"], one.get("content")) for one in self.requests[request]["messages"]]


@contextmanager
def fake_openai(*answers: str | ToolCall) -> Iterator[FakeOpenAi]:
    """Run the server on the loopback."""
    api = FakeOpenAi(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            api.requests.append(body)
            answer = api.answers.pop(0) if api.answers else "-"
            if answer == HANG:
                api.over.wait(60)
                return
            if answer == FAIL:
                self.send_error(500)
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for delta in _deltas(answer):
                self._chunk({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            self._chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            self.wfile.write(b"data: [DONE]\n\n")

        def _chunk(self, more: dict[str, Any]) -> None:
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "tiny"} | more
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with serving_http(Handler) as url:
        api.url = f"{url}/v1"
        try:
            yield api
        finally:
            api.over.set()


def _deltas(answer: str | ToolCall) -> list[dict[str, Any]]:
    if isinstance(answer, str):
        return [
            {"role": "assistant", "content": word} for word in answer.split(" ") for word in (f"{word} ",)
        ]
    function = {"name": answer.name, "arguments": json.dumps(answer.arguments)}
    return [{"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}]
