"""Twilio's webhooks: verify, parse, answer."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, HTTPException, Request, Response
from loguru import logger
from starlette.datastructures import FormData, UploadFile

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import STATUS_PATH, TRANSFERRED_PATH, TWIML_PATH
from moshi_phone.access.redact import redact
from moshi_phone.access.request_body import read_body
from moshi_phone.access.signatures import HEADER


@dataclass(frozen=True)
class IncomingCall:
    """A call that comes in, as Twilio's webhook tells of it.

    Attributes:
        call_sid: its name.
        from_: who calls; E.164, or a word for one who hides it.
        to: the number that was called.
        direction: ``inbound``, or ``outbound-api`` for one that was dialled.
        parameters: the webhook's other fields, by name.
    """

    call_sid: str
    from_: str = field(repr=False)
    to: str = field(repr=False)
    direction: str = "inbound"
    parameters: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @classmethod
    def from_form(cls, form: Mapping[str, str]) -> IncomingCall:
        """Read Twilio's form."""
        own = {"CallSid", "From", "To", "Direction", "AccountSid"}
        return cls(
            form.get("CallSid", ""),
            form.get("From", "anonymous"),
            form.get("To", ""),
            form.get("Direction", "inbound"),
            {name: value for name, value in form.items() if name not in own},
        )

    def as_json(self) -> dict[str, Any]:
        """Give it as hooks are told of it."""
        return {
            "call_sid": self.call_sid,
            "from": self.from_,
            "to": self.to,
            "direction": self.direction,
            "parameters": dict(self.parameters),
        }


MAX_BODY_BYTES = 64 * 1024  # Twilio's forms have one or two kilobytes
MAX_FIELDS = 500

CONVERSED = ("completed", "answered")
"""Twilio's ``DialCallStatus`` of a call that was put through, and was talked in."""

_CALL_SID = re.compile(r"CA[0-9a-fA-F]{32}")

Answer = Callable[[IncomingCall], Awaitable[str]]
AfterTransfer = Callable[[str, str], Awaitable[str]]
OnStatus = Callable[[str, str], None]


def webhooks(
    auth: StreamAuth, answer: Answer, after_transfer: AfterTransfer, on_status: OnStatus | None = None
) -> APIRouter:
    """Make ``POST /twiml``, ``POST /transferred`` and ``POST /status``.

    Args:
        auth: knows which webhooks are Twilio's, makes the tokens, and has the public URL.
        answer: says what to do with a call that comes in, as TwiML.
        after_transfer: says, as TwiML, what to do with a call that was put through to another phone, by its
            SID and how that went (Twilio's ``DialCallStatus``).
        on_status: is told of each call's SID and status, as they are reported; of a machine that has answered
            as ``machine_…`` (Twilio's ``AnsweredBy``).
    """
    router = APIRouter()

    @router.post(TWIML_PATH)
    async def twiml(request: Request) -> Response:
        """Say what to do with a call that comes in."""
        form = await _form_of_call(request, TWIML_PATH, auth)
        call = IncomingCall.from_form({name: str(value) for name, value in form.items()})
        return Response(await answer(call), media_type="application/xml")

    @router.post(TRANSFERRED_PATH)
    async def transferred(request: Request) -> Response:
        """Say what to do with a call when the other phone has hung up, or was never answered."""
        form = await _form_of_call(request, TRANSFERRED_PATH, auth)
        document = await after_transfer(str(form["CallSid"]), str(form.get("DialCallStatus", "")))
        return Response(document, media_type="application/xml")

    @router.post(STATUS_PATH, status_code=204)
    async def status(request: Request) -> None:
        """Take note of a call's new status, or of its stream's."""
        form = await _form_of_twilio(request, STATUS_PATH, auth)
        _log_status(form)
        sid = str(form.get("CallSid", ""))
        if on_status and "AnsweredBy" in form:
            on_status(sid, str(form["AnsweredBy"]))
        elif on_status and "CallStatus" in form:  # the stream's own events have none
            on_status(sid, str(form["CallStatus"]))

    return router


async def _form_of_call(request: Request, path: str, auth: StreamAuth) -> FormData:
    """Read the form of a webhook whose answer may connect its call with a stream.

    Raises:
        HTTPException: as ``_form_of_twilio``; 400 when it names no call, 503 while we have no URL.
    """
    form = await _form_of_twilio(request, path, auth)
    # Though Twilio signs it: with --insecure anybody may ask, and a token is made for this name.
    if not _CALL_SID.fullmatch(str(form.get("CallSid", ""))):
        raise HTTPException(400, "expected a CallSid")
    if auth.address.base is None:
        raise HTTPException(503, "no public URL is known: start with --public-url or --tunnel")
    return form


async def _form_of_twilio(request: Request, path: str, auth: StreamAuth) -> FormData:
    """Read the form, and make sure that Twilio sent it.

    Raises:
        HTTPException: 400 when it is no form or was not sent to its end, 403 when Twilio did not sign it,
            413 when it is far too long to be one of Twilio's.
    """
    form = _parse(await read_body(request, MAX_BODY_BYTES), path)
    url = auth.address.https(path)
    if url and request.url.query:  # Twilio signs the URL as the number has it, query and all
        url += f"?{request.url.query}"
    if not auth.knows_sender(url, form, request.headers.get(HEADER)):
        raise HTTPException(403, "the signature is missing or wrong")
    return form


def _parse(body: bytes, path: str) -> FormData:
    try:
        # Text, not bytes: of bytes parse_qsl makes ASCII again, and a caller from Zürich would be refused.
        # Every name and value is UTF-8, or it is not Twilio's: nothing is replaced in what is signed.
        pairs = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            max_num_fields=MAX_FIELDS,
            encoding="utf-8",
            errors="strict",
        )
    except ValueError as error:
        logger.warning("Refused a webhook to {}: it is no form in UTF-8", path)
        raise HTTPException(400, "expected a form") from error
    return FormData(list[tuple[str, str | UploadFile]](pairs))


def _log_status(form: FormData) -> None:
    sid = str(form.get("CallSid", "?"))[:10]
    if event := form.get("StreamEvent"):
        error = form.get("StreamError")
        level = "WARNING" if error else "DEBUG"
        logger.log(level, "Call {}: Twilio says {} {}", sid, event, redact(str(error or "")))
        return
    names = ("AnsweredBy", "CallDuration", "SipResponseCode", "ErrorCode")
    more = [f"{name} {form[name]}" for name in names if name in form]
    logger.info("Call {}: Twilio says {} {}", sid, form.get("CallStatus", "?"), redact(", ".join(more)))
