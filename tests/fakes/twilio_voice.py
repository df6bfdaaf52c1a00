"""Twilio's part in a call, from the webhook to the last status: requests TwiML, executes it, opens the
stream.

It signs as Twilio does, for the given public URL; a route maps that URL to an address on this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from secrets import token_hex
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree as ET

import aiohttp
from streamdouble.protocol import build_connected
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import connect

from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER
from tests.support.phone import Phone, start_message

CALLER = "+15551234567"


class Rejected(Exception):
    """The TwiML said ``<Reject>``; the text is its reason."""


class HungUp(Exception):
    """The phone call has ended."""


class FakeTwilioVoice:
    """Twilio's voice service, for inbound and dialled calls.

    Documented: the webhooks' forms and signatures, a stream's messages, ``<Parameter>``, what ``after`` says
    of a stream that the server has closed, and that ``calls(SID).update(twiml=…)`` replaces what a live call
    does. From other sources: without TwiML behind ``<Connect>`` the call ends. Assumed: that a reset or a
    lost connection leads to the next verb as well, at once, and that URLs are signed without their fragment.

    Args:
        public: the public base URL, ``https://…``.
        local: the address that it leads to, ``127.0.0.1:PORT``.
        workers: the addresses of other host names in streams' URLs.
    """

    def __init__(self, public: str, local: str, workers: Mapping[str, str] | None = None) -> None:
        self._workers = workers or {}
        self.public = public
        self._local = local
        self._validator = RequestValidator(AUTH_TOKEN)

    async def call_in(self, voice_url: str, call_sid: str, caller: str = CALLER, called: str = NUMBER) -> str:
        """Request the number's voice URL for a call; return the TwiML."""
        form = {
            "AccountSid": ACCOUNT_SID,
            "ApiVersion": "2010-04-01",
            "CallSid": call_sid,
            "CallStatus": "ringing",
            "CallToken": token_hex(8),  # so each is another question, as those of two calls are
            "Called": called,
            "Caller": caller,
            "Direction": "inbound",
            "From": caller,
            "To": called,
        }
        status, text = await self.post(voice_url, form)
        assert status == 200, text
        return text

    async def tell(self, status_url: str, call_sid: str, **fields: str) -> int:
        """Report a status; return the response."""
        form = {"AccountSid": ACCOUNT_SID, "CallSid": call_sid, "From": NUMBER, "To": CALLER, **fields}
        return (await self.post(status_url, form))[0]

    async def post(self, url: str, form: dict[str, str]) -> tuple[int, str]:
        """Post a signed form to a public URL."""
        assert url.startswith(self.public + "/")
        headers = {"X-Twilio-Signature": self._validator.compute_signature(url, form)}
        parts = urlsplit(url)
        local = f"http://{self._local}{parts.path}" + (f"?{parts.query}" if parts.query else "")
        async with aiohttp.ClientSession() as http, http.post(local, data=form, headers=headers) as answer:
            return answer.status, await answer.text()

    async def after(self, twiml: str, call_sid: str, caller: str = CALLER) -> str:
        """Continue after ``<Connect>``: request the URL of its ``<Redirect>``; return the TwiML.

        Documented: Twilio continues with the TwiML behind ``<Connect>`` when the server has closed the stream
        (error 31921), a URL's fragment is never sent, and ``rc`` in it retries. Assumed: that it does the
        same after a reset or a lost connection (31901, 31903), and signs the URL without its fragment.

        Raises:
            HungUp: if nothing follows.
        """
        redirect = ET.fromstring(twiml).find("Redirect")  # noqa: S314 - our own server's
        if redirect is None or redirect.text is None:
            raise HungUp
        url, _, overrides = redirect.text.partition("#")
        form = {
            "AccountSid": ACCOUNT_SID,
            "CallSid": call_sid,
            "CallStatus": "in-progress",
            "Direction": "inbound",
            "From": caller,
            "To": NUMBER,
        }
        tries = int(dict(parse_qsl(overrides)).get("rc", 1)) + 1
        for _ in range(tries):
            with suppress(aiohttp.ClientError):
                status, text = await self.post(url, form)
                if status == HTTPStatus.OK:
                    return text
            await asyncio.sleep(0.5)
        raise HungUp

    @asynccontextmanager
    async def obey(self, twiml: str, call_sid: str) -> AsyncIterator[tuple[Phone, str | None]]:
        """Execute the TwiML: connect a stream; return its phone, and the URL of its statuses.

        Raises:
            Rejected: if it contains ``<Reject>``.
        """
        response = ET.fromstring(twiml)  # noqa: S314 - our own server's
        assert response.tag == "Response"
        if response[0].tag == "Hangup":
            raise HungUp
        verb = response[0]
        if verb.tag == "Say" and len(response) > 1:  # played before the next verb
            verb = response[1]
        if verb.tag == "Reject":
            raise Rejected(verb.attrib["reason"])
        assert (verb.tag, [child.tag for child in verb]) == ("Connect", ["Stream"])
        stream = verb[0]
        url = urlsplit(stream.attrib["url"])
        assert (url.scheme, url.query) == ("wss", "")
        assert f"https://{url.netloc}" == self.public or url.netloc in self._workers
        parameters = {each.attrib["name"]: each.attrib["value"] for each in stream}
        assert all(len(name) < 500 and len(value) < 500 for name, value in parameters.items())
        headers = {"x-twilio-signature": self._validator.compute_signature(stream.attrib["url"], {})}
        local = self._workers.get(url.netloc, self._local)
        # Without a limit: see Phone.calling.
        async with connect(f"ws://{local}{url.path}", additional_headers=headers, max_queue=None) as socket:
            phone = Phone(socket)
            await phone.send(build_connected())
            await phone.send(start_message(parameters=parameters, call_sid=call_sid))
            yield phone, stream.attrib.get("statusCallback")
