"""telephony/webhooks.py over real HTTP: who is answered, and what."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from starlette.datastructures import FormData, UploadFile
from twilio.request_validator import RequestValidator

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.server.calls.pending import HOLD_SECS
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony.webhooks import MAX_BODY_BYTES
from moshi_phone.testing.engine import FakeEngine
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, start_message

AUTH_TOKEN = "f" * 32
PUBLIC = "https://phone.example.com"
CALL = "CA" + "1" * 32
LOUD = bytes([0x10, 0x90] * 80)
CALLER = "+15551234567"
FORM = {"CallSid": CALL, "From": CALLER, "To": "+15005550006", "CallStatus": "ringing", "ForwardedFrom": ""}


@dataclass
class Server:
    """A line that serves, and who asks it things."""

    line: ServerState
    engine: FakeEngine
    address: str
    http: aiohttp.ClientSession

    async def post(
        self, path: str, body: bytes | None = None, signature: str | None = "", **fields: str
    ) -> tuple[int, str]:
        """Post a form as Twilio does, signed as Twilio does unless said otherwise."""
        form = {**FORM, **fields}
        if signature == "":
            signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + path, form)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if signature is not None:
            headers["X-Twilio-Signature"] = signature
        data = urlencode(form).encode() if body is None else body
        async with self.http.post(f"http://{self.address}{path}", data=data, headers=headers) as answer:
            return answer.status, await answer.text()


def parse(twiml: str) -> ET.Element:
    return ET.fromstring(twiml)  # noqa: S314 - our own


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    engine = FakeEngine(capacity=1)
    line = ServerState(engine, auth=StreamAuth.for_account(AUTH_TOKEN, PublicAddress(PUBLIC)))
    async with serving(line) as address, aiohttp.ClientSession() as http:
        yield Server(line, engine, address, http)


async def test_a_signed_call_is_put_through(server: Server, logged: Logged) -> None:
    status, twiml = await server.post("/twiml")
    assert status == 200
    response = parse(twiml)
    assert [each.tag for each in response.iter()] == [
        "Response",
        "Connect",
        "Stream",
        "Parameter",
        "Redirect",
    ]
    stream, parameter = response[0][0], response[0][0][0]
    assert stream.attrib == {"url": "wss://phone.example.com/stream", "statusCallback": PUBLIC + "/status"}
    token = parameter.attrib["value"]
    server.line.auth.tokens.spend(token, CALL, server.line.auth.clock())
    assert "CA11111111 The call from +…567 is answered" in logged.text
    assert CALLER not in logged.text
    assert token not in logged.text
    assert server.engine.opened == 0


@pytest.mark.parametrize("path", ["/twiml", "/status"])
async def test_what_twilio_did_not_sign_is_refused(server: Server, path: str, logged: Logged) -> None:
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


async def test_a_query_is_part_of_what_is_signed(server: Server) -> None:
    assert (await server.post("/twiml?office=2"))[0] == 200


@pytest.mark.parametrize("host", ["evil.example.com", "phone.example.com"])
async def test_headers_of_the_request_do_not_make_the_url(server: Server, host: str) -> None:
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
async def test_forms_in_utf_8_as_twilio_sends_and_signs_them(server: Server, path: str, name: str) -> None:
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


async def test_a_form_whose_utf_8_is_not_percent_encoded(server: Server) -> None:
    fields = {"CallSid": CALL, "FromCity": "ZÜRICH", "🦜": "ä"}
    signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + "/twiml", fields)
    raw = "&".join(f"{name}={value}" for name, value in fields.items()).encode()
    assert (await server.post("/twiml", raw, signature))[0] == 200


@pytest.mark.parametrize("city", [b"Z%DCRICH", b"Z\xdcRICH", b"%ED%A0%80"])
async def test_a_form_in_another_encoding_is_refused_and_logged(
    server: Server, city: bytes, logged: Logged
) -> None:
    """Latin-1, raw or percent-encoded, and half a surrogate pair: Twilio sends none of them."""
    body = f"CallSid={CALL}&FromCity=".encode() + city
    assert (await server.post("/twiml", body, "x"))[0] == 400
    assert logged.text.count("Refused a webhook (cause form, from 127.0.0.1): it is no form in UTF-8") == 1


async def test_a_form_that_is_not_sent_to_its_end_leaves_no_traceback(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
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
async def test_what_is_no_form(server: Server, body: bytes, status: int) -> None:
    assert (await server.post("/twiml", body, "x"))[0] == status


@pytest.mark.parametrize("path", ["/twiml", "/transferred"])
async def test_a_call_without_a_name(server: Server, path: str) -> None:
    assert (await server.post(path, CallSid="../../etc"))[0] == 400


async def test_other_methods(server: Server) -> None:
    async with server.http.get(f"http://{server.address}/twiml") as answer:
        assert answer.status == 405


async def test_a_busy_line(server: Server, logged: Logged) -> None:
    _, twiml = await server.post("/twiml")
    token = parse(twiml)[0][0][0].attrib["value"]
    start = start_message(parameters={"token": token}, call_sid=CALL)
    async with Phone.calling(server.address, start) as phone:
        await phone.say(LOUD, times=4)
        await phone.listen(1)
        status, twiml = await server.post("/twiml", CallSid="CA" + "2" * 32)
        assert (status, parse(twiml)[0].tag) == (200, "Reject")
        assert parse(twiml)[0].attrib == {"reason": "busy"}
        assert "CA22222222 Refused a webhook (cause busy, from +…567): the only session" in logged.text
        assert server.line.refusals.by_cause == {"busy": 1}
    await server.line.calls.wait_until_idle()
    assert "<Connect>" in (await server.post("/twiml"))[1]


async def test_two_callers_in_one_second(server: Server) -> None:
    """The first has been connected, and its stream is still to come."""
    now = server.line.clock()
    server.line.clock = lambda: now
    assert "<Connect>" in (await server.post("/twiml"))[1]
    assert "<Reject" in (await server.post("/twiml", CallSid="CA" + "2" * 32))[1]
    assert "<Connect>" in (await server.post("/twiml"))[1]  # Twilio asks again about the first
    server.line.clock = lambda: now + HOLD_SECS
    assert "<Connect>" in (await server.post("/twiml", CallSid="CA" + "3" * 32))[1]


async def test_a_clock_that_is_set_back_keeps_no_line_busy(server: Server) -> None:
    wall = server.line.auth.clock()
    server.line.auth.clock = lambda: wall
    up = server.line.clock()
    server.line.clock = lambda: up
    assert "<Connect>" in (await server.post("/twiml"))[1]
    server.line.auth.clock = lambda: wall - 3600
    server.line.clock = lambda: up + HOLD_SECS
    assert "<Connect>" in (await server.post("/twiml", CallSid="CA" + "2" * 32))[1]


@pytest.mark.parametrize("why", ["closing", "error"])
async def test_a_line_that_takes_no_calls_is_busy(server: Server, why: str) -> None:
    if why == "closing":
        server.line.calls.closing = "the line is shutting down"
    else:
        await server.engine.stop()
    assert "<Reject" in (await server.post("/twiml"))[1]


@pytest.mark.parametrize("path", ["/twiml", "/transferred"])
async def test_an_insecure_line_needs_a_public_url(path: str) -> None:
    line = ServerState(FakeEngine(), auth=StreamAuth(insecure=True))
    async with serving(line) as address, aiohttp.ClientSession() as http:
        server = Server(line, FakeEngine(), address, http)
        status, text = await server.post(path, signature=None)
        assert (status, "start with --public-url or --tunnel" in text) == (503, True)
        line.auth.address.base = PUBLIC
        assert (await server.post(path, signature=None))[0] == 200


async def test_statuses_are_logged_without_numbers(server: Server, logged: Logged) -> None:
    assert await server.post("/status", CallStatus="busy", SipResponseCode="486") == (204, "")
    assert "CA11111111 Twilio says busy SipResponseCode 486" in logged.text
    error = f"could not reach {CALLER}"
    assert (await server.post("/status", StreamEvent="stream-error", StreamError=error))[0] == 204
    assert "WARNING CA11111111 Twilio says stream-error could not reach +…567" in logged.text
    assert CALLER not in logged.text
