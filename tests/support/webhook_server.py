"""A server, and a client that posts Twilio's forms to it, signed as by Twilio."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp
from twilio.request_validator import RequestValidator

from moshi_phone.server.calls.state import ServerState
from moshi_phone.testing.engine import FakeEngine

AUTH_TOKEN = "f" * 32
PUBLIC = "https://phone.example.com"
CALL = "CA" + "1" * 32
CALLER = "+15551234567"
FORM = {"CallSid": CALL, "From": CALLER, "To": "+15005550006", "CallStatus": "ringing", "ForwardedFrom": ""}


@dataclass
class WebhookServer:
    """A running server, and a client of its webhooks."""

    line: ServerState
    engine: FakeEngine
    address: str
    http: aiohttp.ClientSession

    async def post(
        self, path: str, body: bytes | None = None, signature: str | None = "", **fields: str
    ) -> tuple[int, str]:
        """Post a form as Twilio does, signed as by Twilio unless stated otherwise."""
        form = {**FORM, **fields}
        if signature == "":
            signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + path, form)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if signature is not None:
            headers["X-Twilio-Signature"] = signature
        data = urlencode(form).encode() if body is None else body
        async with self.http.post(f"http://{self.address}{path}", data=data, headers=headers) as answer:
            return answer.status, await answer.text()
