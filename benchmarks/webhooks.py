"""The cost of answering Twilio's webhook: signature, reservation, token, TwiML. CPU, not time.

``uv run python -m benchmarks.webhooks`` calls the server's app in this process, without sockets and log.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI
from loguru import logger
from starlette.types import Message
from twilio.request_validator import RequestValidator

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import TWIML_PATH, PublicAddress
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.app import create_app

AUTH_TOKEN = "f" * 32
PUBLIC = "https://phone.example.com"
REQUESTS = 2_000


async def cpu_ms() -> float:
    """Return the CPU time of one answer, in ms."""
    engine = ParrotEngine(delay_s=0)
    address = PublicAddress(PUBLIC)
    state = ServerState(engine, auth=StreamAuth.for_account(AUTH_TOKEN, address))
    app = create_app(state, _no_call, None)
    await engine.start(lambda _: None)
    try:
        requests = [_request(number) for number in range(REQUESTS)]
        began_s = time.process_time()
        for call_sid, scope, body in requests:
            document = await _ask(app, scope, body)
            assert b"<Stream" in document, document  # noqa: S101 - else something else was measured
            state.reservations.release(call_sid)  # as if its stream had started
        return 1000 * (time.process_time() - began_s) / REQUESTS
    finally:
        await engine.stop()


def _request(number: int) -> tuple[str, dict[str, Any], bytes]:
    """Create a call's webhook, signed like Twilio's."""
    call_sid = f"CA{number:032x}"
    form = {"CallSid": call_sid, "From": "+15551234567", "To": "+15005550006", "CallStatus": "ringing"}
    signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + TWIML_PATH, form)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": TWIML_PATH,
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"x-twilio-signature", signature.encode()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 5001),
    }
    return call_sid, scope, urlencode(form).encode()


async def _ask(app: FastAPI, scope: dict[str, Any], body: bytes) -> bytes:
    answer = bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        answer.extend(message.get("body", b""))

    await app(scope, receive, send)
    return bytes(answer)


async def _no_call(*_: object) -> None:
    raise AssertionError("nobody opens a stream here")


if __name__ == "__main__":
    logger.remove()  # the log's line for each call is not measured
    print(f"{asyncio.run(cpu_ms()):.2f} ms of CPU a webhook")
