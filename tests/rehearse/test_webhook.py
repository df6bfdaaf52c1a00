from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from twilio.request_validator import RequestValidator

from moshi_phone.rehearse.webhook import Connection, NoStream, NoWebhook, ask_webhook, read_twiml

STREAM = (
    '<Connect><Stream url="wss://a.example/stream"><Parameter name="token" value="t1"/></Stream></Connect>'
)


def test_a_stream_and_its_parameters() -> None:
    assert read_twiml(f"<Response>{STREAM}</Response>") == Connection([], {"token": "t1"})


def test_verbs_that_speak_before_the_stream_are_reported() -> None:
    twiml = f"<Response><Say>One moment.</Say><Pause/><Play>x.mp3</Play>{STREAM}<Say>Bye</Say></Response>"
    assert read_twiml(twiml).prompts_before_stream == ["Say", "Play"]


@pytest.mark.parametrize(
    ("twiml", "words"),
    [
        ("hello", "is not TwiML"),
        ("<Response><Reject reason='busy'/></Response>", r"connects no stream, its TwiML holds <Reject>"),
        ("<Response/>", "holds nothing"),
    ],
)
def test_a_document_without_a_stream_is_reported(twiml: str, words: str) -> None:
    with pytest.raises(NoStream, match=words):
        read_twiml(twiml)


async def test_the_request_is_signed_for_the_public_url() -> None:
    async def twiml(request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        signature = request.headers.get("X-Twilio-Signature", "")
        if not RequestValidator("secret").validate("https://a.example/twiml", form, signature):
            return web.Response(status=403)
        return web.Response(text=f"<Response>{STREAM}</Response>")

    app = web.Application()
    app.router.add_post("/twiml", twiml)
    async with TestServer(app) as server:
        url = str(server.make_url("/twiml"))
        found = await ask_webhook(url, "CA1", auth_token="secret", public_url="https://a.example/")
        assert found == Connection([], {"token": "t1"})
        with pytest.raises(NoWebhook, match="set TWILIO_AUTH_TOKEN"):
            await ask_webhook(url, "CA1")
        with pytest.raises(NoWebhook, match="answers 404"):
            await ask_webhook(str(server.make_url("/elsewhere")), "CA1")
    with pytest.raises(NoWebhook, match="there is no webhook"):
        await ask_webhook(url, "CA1")  # no server answers any more
