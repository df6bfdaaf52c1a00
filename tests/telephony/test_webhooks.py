"""telephony/webhooks.py over real HTTP: which requests are answered, and how."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from moshi_phone.server.calls.pending import HOLD_SECS
from tests.support.logs import Logged
from tests.support.phone import Phone, start_message
from tests.support.webhook_server import CALL, CALLER, PUBLIC, WebhookServer

LOUD = bytes([0x10, 0x90] * 80)


def parse(twiml: str) -> ET.Element:
    return ET.fromstring(twiml)  # noqa: S314 - our own


async def test_a_signed_call_is_connected(server: WebhookServer, logged: Logged) -> None:
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


async def test_other_methods(server: WebhookServer) -> None:
    async with server.http.get(f"http://{server.address}/twiml") as answer:
        assert answer.status == 405


async def test_without_a_free_session_a_call_is_rejected_as_busy(
    server: WebhookServer, logged: Logged
) -> None:
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


async def test_two_callers_in_one_second(server: WebhookServer) -> None:
    """The first has been connected, but its stream has not started."""
    now = server.line.clock()
    server.line.clock = lambda: now
    assert "<Connect>" in (await server.post("/twiml"))[1]
    assert "<Reject" in (await server.post("/twiml", CallSid="CA" + "2" * 32))[1]
    assert "<Connect>" in (await server.post("/twiml"))[1]  # Twilio repeats the first one's webhook
    server.line.clock = lambda: now + HOLD_SECS
    assert "<Connect>" in (await server.post("/twiml", CallSid="CA" + "3" * 32))[1]


async def test_a_clock_that_is_set_back_does_not_block_sessions(server: WebhookServer) -> None:
    wall = server.line.auth.clock()
    server.line.auth.clock = lambda: wall
    up = server.line.clock()
    server.line.clock = lambda: up
    assert "<Connect>" in (await server.post("/twiml"))[1]
    server.line.auth.clock = lambda: wall - 3600
    server.line.clock = lambda: up + HOLD_SECS
    assert "<Connect>" in (await server.post("/twiml", CallSid="CA" + "2" * 32))[1]


@pytest.mark.parametrize("why", ["closing", "error"])
async def test_a_closing_server_rejects_calls_as_busy(server: WebhookServer, why: str) -> None:
    if why == "closing":
        server.line.calls.closing = "the line is shutting down"
    else:
        await server.engine.stop()
    assert "<Reject" in (await server.post("/twiml"))[1]


async def test_statuses_are_logged_without_numbers(server: WebhookServer, logged: Logged) -> None:
    assert await server.post("/status", CallStatus="busy", SipResponseCode="486") == (204, "")
    assert "CA11111111 Twilio says busy SipResponseCode 486" in logged.text
    error = f"could not reach {CALLER}"
    assert (await server.post("/status", StreamEvent="stream-error", StreamError=error))[0] == 204
    assert "WARNING CA11111111 Twilio says stream-error could not reach +…567" in logged.text
    assert CALLER not in logged.text
