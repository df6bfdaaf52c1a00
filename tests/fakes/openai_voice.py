"""A small server that speaks OpenAI's API for a voice: it transcribes, answers, and speaks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.http_server import serving_http


@dataclass
class FakeVoice:
    """The server's answers, and what it got.

    Attributes:
        transcript: of any audio.
        answer: of the language model.
        speech: 16-bit PCM, 24 kHz, for each text.
        recordings: the received audio files.
        requests: the bodies of the other requests.
        url: for ``base_url``.
    """

    transcript: str
    answer: str
    speech: bytes
    recordings: list[bytes] = field(default_factory=list[bytes])
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    url: str = ""

    @property
    def spoken(self) -> list[str]:
        """The texts that it had to speak."""
        return [request["input"] for request in self.requests if "input" in request]


@contextmanager
def fake_voice(transcript: str, answer: str, speech: bytes) -> Iterator[FakeVoice]:
    """Run the server on the loopback."""
    voice = FakeVoice(transcript, answer, speech)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path.endswith("/audio/transcriptions"):
                voice.recordings.append(body[re.search(rb"RIFF", body).start() :])  # type: ignore[union-attr]
                self._answer("application/json", json.dumps({"text": voice.transcript}).encode())
                return
            voice.requests.append(json.loads(body))
            if self.path.endswith("/audio/speech"):
                self._answer("audio/pcm", voice.speech)
                return
            words = [{"content": f"{word} "} for word in voice.answer.split()]
            chunks = [*words, {}]
            lines = [f"data: {json.dumps(self._chunk(delta))}\n\n" for delta in chunks]
            self._answer("text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode())

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _chunk(self, delta: dict[str, Any]) -> dict[str, Any]:
            choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
            return {
                "id": "1",
                "object": "chat.completion.chunk",
                "created": 0,
                "model": "tiny",
                "choices": [choice],
            }

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with serving_http(Handler) as url:
        voice.url = f"{url}/v1"
        yield voice
