"""telephony/webhook_form.py over real HTTP: which forms are read, and which are refused."""

from __future__ import annotations

import asyncio
import logging
import re
from urllib.parse import urlencode

import aiohttp
import pytest
from starlette.datastructures import FormData, UploadFile
from twilio.request_validator import RequestValidator

from moshi_phone.access.auth import StreamAuth
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony.webhook_form import MAX_BODY_BYTES
from moshi_phone.testing.engine import FakeEngine
from tests.support.logs import Logged
from tests.support.phone import serving
from tests.support.webhook_server import AUTH_TOKEN, CALL, CALLER, FORM, PUBLIC, WebhookServer


@pytest.mark.parametrize("path", ["/twiml", "/status"])
async def test_a_form_without_twilio_s_signature_is_refused(
    server: WebhookServer, path: str, logged: Logged
) -> None:
    def sign(url: str, form: dict[str, str] = FORM, token: str = AUTH_TOKEN) -> str:
        return str(RequestValidator(token).compute_signature(url, form))

    right = sign(PUBLIC + path)
    assert (await server.post(path, signature=right))[0] in (200, 204)
    cases: list[tuple[str | None, dict[str, str]]] = [
        (None, {}),
        ("wrong", {}),
        (sign(PUBLIC + path, token="0" * 32), {}),
        (sign(f"http://{server.address}{path}"), {}),  # the URL that the request came by, not the public one
        (sign(PUBLIC + "/other"), {}),
        (right, {"CallSid": "CA" + "2" * 32}),
        (right, {"Extra": "field"}),
    ]
    for signature, fields in cases:
        assert (await server.post(path, None, signature, **fields))[0] == 403
    assert (await server.post(path + "?a=b", signature=right))[0] == 403
    assert (await server.post(path, b"", right))[0] == 403
    assert server.line.refusals.by_cause == {"unsigned": 1, "signature": 8}
    assert logged.text.count("Refused a webhook") == 2  # one line for each cause within ten seconds
    assert "is answered" not in logged.text.replace("is answered", "", 1)
    assert server.engine.opened == 0


async def test_the_query_is_part_of_the_signed_url(server: WebhookServer) -> None:
    assert (await server.post("/twiml?office=2"))[0] == 200


@pytest.mark.parametrize("host", ["evil.example.com", "phone.example.com"])
async def test_the_request_s_headers_do_not_change_the_signed_url(server: WebhookServer, host: str) -> None:
    signature = RequestValidator(AUTH_TOKEN).compute_signature("https://evil.example.com/twiml", FORM)
    headers = {"Host": host, "X-Forwarded-Host": "evil.example.com", "X-Forwarded-Proto": "https"}
    headers["X-Twilio-Signature"] = signature
    async with server.http.post(f"http://{server.address}/twiml", data=FORM, headers=headers) as answer:
        assert answer.status == 403


FORMS = {
    "umlauts": [("FromCity", "ZÜRICH"), ("CallerName", "José")],
    "emoji": [("CallerName", "Zoë 🦜👩‍🚀"), ("🦜", "name")],
    "scripts": [("FromCity", "東京"), ("ToCity", "القاهرة"), ("CallerName", "e\u0301 is not \u00e9")],
    "empty": [("FromCity", ""), ("", "no name"), ("ForwardedFrom", "")],
    "repeated": [("Tag", "b"), ("Tag", "a"), ("Tag", "b"), ("Tag", "ü")],
    "reserved": [("CallerName", "a+b & c=d%20;~*'()!"), ("Ctl", "tab\t, line\r\nend")],
}


@pytest.mark.parametrize("path", ["/twiml", "/status"])
@pytest.mark.parametrize("name", FORMS)
async def test_utf_8_forms_are_read_as_twilio_signs_them(server: WebhookServer, path: str, name: str) -> None:
    """Percent-encoded UTF-8; twilio's own validator makes the signature over the decoded form."""
    pairs = [("CallSid", CALL), ("From", CALLER), *FORMS[name]]
    form = FormData(list[tuple[str, str | UploadFile]](pairs))
    validator = RequestValidator(AUTH_TOKEN)
    signature = str(validator.compute_signature(PUBLIC + path, form))
    assert validator.validate(PUBLIC + path, form, signature)
    body = urlencode(pairs).encode()
    assert body.isascii()
    assert (await server.post(path, body, signature))[0] in (200, 204)
    lower = re.sub(rb"%[0-9A-F]{2}", lambda found: found[0].lower(), body)  # %c3%bc is the same as %C3%BC
    assert (await server.post(path, lower, signature))[0] in (200, 204)
    last = body.rpartition(b"=")[0] + b"=another"
    assert (await server.post(path, last, signature))[0] == 403


async def test_a_form_whose_utf_8_is_not_percent_encoded(server: WebhookServer) -> None:
    fields = {"CallSid": CALL, "FromCity": "ZÜRICH", "🦜": "ä"}
    signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + "/twiml", fields)
    raw = "&".join(f"{name}={value}" for name, value in fields.items()).encode()
    assert (await server.post("/twiml", raw, signature))[0] == 200


@pytest.mark.parametrize("city", [b"Z%DCRICH", b"Z\xdcRICH", b"%ED%A0%80"])
async def test_a_form_in_another_encoding_is_refused_and_logged(
    server: WebhookServer, city: bytes, logged: Logged
) -> None:
    """Latin-1, raw or percent-encoded, and half a surrogate pair: Twilio sends none of them."""
    body = f"CallSid={CALL}&FromCity=".encode() + city
    assert (await server.post("/twiml", body, "x"))[0] == 400
    assert logged.text.count("Refused a webhook (cause form, from 127.0.0.1): it is no form in UTF-8") == 1


async def test_an_incomplete_form_causes_no_traceback(
    server: WebhookServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)
    host, _, port = server.address.partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /twiml HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nCallSid=")
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.transport.abort()
    await asyncio.sleep(0.1)
    assert (await server.post("/twiml"))[0] == 200
    assert "Exception" not in caplog.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 403),
        (b"\xff%ff&&&===", 400),
        (b"&".join(b"a=b" for _ in range(1000)), 400),
        (b"a" * (MAX_BODY_BYTES + 1), 413),
    ],
)
async def test_bodies_that_are_not_forms_are_refused(server: WebhookServer, body: bytes, status: int) -> None:
    assert (await server.post("/twiml", body, "x"))[0] == status


@pytest.mark.parametrize("path", ["/twiml", "/transferred"])
async def test_a_form_without_a_valid_call_sid_is_refused(server: WebhookServer, path: str) -> None:
    assert (await server.post(path, CallSid="../../etc"))[0] == 400


@pytest.mark.parametrize("path", ["/twiml", "/transferred"])
async def test_an_insecure_server_needs_a_public_url(path: str) -> None:
    line = ServerState(FakeEngine(), auth=StreamAuth(insecure=True))
    async with serving(line) as address, aiohttp.ClientSession() as http:
        server = WebhookServer(line, FakeEngine(), address, http)
        status, text = await server.post(path, signature=None)
        assert (status, "start with --public-url or --tunnel" in text) == (503, True)
        line.auth.address.base = PUBLIC
        assert (await server.post(path, signature=None))[0] == 200
