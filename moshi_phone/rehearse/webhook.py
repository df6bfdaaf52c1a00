"""Twilio's part before the stream: the request to the webhook, and its TwiML."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit
from xml.etree import ElementTree

import aiohttp
from twilio.request_validator import RequestValidator

SPOKEN = ("Say", "Play")
"""Verbs that speak to the caller in a voice other than the engine's."""


class NoStream(Exception):
    """The webhook's TwiML connects no stream; the message says what it does instead."""


class NoWebhook(Exception):
    """No webhook answers, or it refuses; the message gives the reason."""


@dataclass(frozen=True)
class Connection:
    """The content of the TwiML.

    Attributes:
        prompts_before_stream: the speaking verbs before ``<Connect>``, in order.
        parameters: the stream's ``<Parameter>`` elements, by name.
    """

    prompts_before_stream: list[str] = field(default_factory=list[str])
    parameters: dict[str, str] = field(default_factory=dict[str, str])


def read_twiml(text: str) -> Connection:
    """Parse TwiML up to its ``<Connect><Stream>``.

    Raises:
        NoStream: when it is not TwiML, or connects no stream.
    """
    try:
        response = ElementTree.fromstring(text)  # noqa: S314 - from the server that this program rehearses
    except ElementTree.ParseError as error:
        raise NoStream(f"the webhook's answer is not TwiML: {error}") from error
    spoken: list[str] = []
    for verb in response:
        stream = verb.find("Stream") if verb.tag == "Connect" else None
        if stream is not None:
            names = [(item.get("name", ""), item.get("value", "")) for item in stream.findall("Parameter")]
            return Connection(spoken, dict(names))
        spoken += [verb.tag] if verb.tag in SPOKEN else []
    verbs = ", ".join(f"<{verb.tag}>" for verb in response) or "nothing"
    raise NoStream(f"the webhook connects no stream, its TwiML holds {verbs}")


async def ask_webhook(
    url: str, call_sid: str, *, auth_token: str | None = None, public_url: str | None = None
) -> Connection:
    """Request a call's TwiML, signed if there is an auth token.

    Args:
        url: the webhook's URL.
        call_sid: SID of the incoming call.
        auth_token: key of the signature.
        public_url: the server's public URL, which the signature covers in place of ``url``.

    Raises:
        NoWebhook: when no webhook answers, or it refuses.
        NoStream: when its TwiML connects no stream.
    """
    # 555-01xx numbers are reserved for fiction.
    form = {"CallSid": call_sid, "From": "+15550100", "To": "+15550101", "Direction": "inbound"}
    headers = {}
    if auth_token:
        signed = public_url.rstrip("/") + urlsplit(url).path if public_url else url
        headers["X-Twilio-Signature"] = RequestValidator(auth_token).compute_signature(signed, form)
    try:
        timeout = aiohttp.ClientTimeout(total=10)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.post(url, data=form, headers=headers) as answer,
        ):
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NoWebhook("there is no webhook to ask") from error
    match answer.status:
        case 200:
            return read_twiml(text)
        case 403:
            raise NoWebhook("the webhook wants Twilio's signature: set TWILIO_AUTH_TOKEN and PUBLIC_URL")
        case status:
            raise NoWebhook(f"the webhook answers {status}")
