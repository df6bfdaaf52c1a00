"""Twilio's webhooks: verify, parse, answer."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from fastapi import APIRouter, HTTPException, Request, Response
from loguru import logger
from starlette.datastructures import FormData, UploadFile

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import (
    NEXT_PATH,
    RECORDED_PATH,
    STATUS_PATH,
    TRANSFERRED_PATH,
    TWIML_PATH,
    WHISPER_PATH,
)
from moshi_phone.access.redact import redact
from moshi_phone.access.refusal import RefusalCause, WebhookRefused, Where
from moshi_phone.access.refusals import Refusals
from moshi_phone.access.request_body import read_body
from moshi_phone.access.signatures import HEADER
from moshi_phone.access.source import source_of
from moshi_phone.runtime.call_log import call_context
from moshi_phone.telephony.caller_id import is_number, normalize
from moshi_phone.telephony.twiml import nothing


@dataclass(frozen=True)
class IncomingCall:
    """An incoming call, from Twilio's webhook.

    Attributes:
        call_sid: SID of the call.
        from_: the caller, normalized (``caller_id.normalize``): E.164, ``anonymous``, or a SIP URI or client.
        to: the called party, normalized likewise; usually a number of the account.
        direction: ``inbound``, or ``outbound-api`` for a dialled call.
        caller_id: E.164 number that a ``<Dial>`` from this call must show instead of its ``From``; None if
            ``From`` is allowed. Twilio refuses (13214) to show a SIP address, a client or a withheld number.
        parameters: other fields of the webhook, by name.
    """

    call_sid: str
    from_: str = field(repr=False)
    to: str = field(repr=False)
    direction: str = "inbound"
    parameters: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    caller_id: str | None = field(default=None, repr=False)

    @classmethod
    def from_form(cls, form: Mapping[str, str], line_number: str | None = None) -> IncomingCall:
        """Parse Twilio's form.

        Args:
            form: fields by name.
            line_number: a number of the account, E.164, to show for calls to a SIP address.
        """
        own = {"CallSid", "From", "To", "Direction", "AccountSid"}
        from_ = normalize(form.get("From"))
        to = normalize(form["To"]) if form.get("To") else ""
        # The raw value: whatsapp:+1555… normalizes to a number, but cannot be shown on a phone.
        is_shown = is_number(from_) and form["From"] == from_
        return cls(
            form.get("CallSid", ""),
            from_,
            to,
            form.get("Direction", "inbound"),
            {name: value for name, value in form.items() if name not in own},
            caller_id=None if is_shown else to if is_number(to) else line_number,
        )

    @property
    def own_number(self) -> str:
        """The account's number in this call; dialling it would lead here again."""
        if self.direction.startswith("outbound"):
            return self.from_
        return self.to if is_number(self.to) else self.caller_id or self.to

    @property
    def party(self) -> str:
        """The remote party: the caller, or the person who was dialled."""
        return self.to if self.direction.startswith("outbound") else self.from_


MAX_BODY_BYTES = 64 * 1024  # Twilio's forms have one or two kilobytes
MAX_FIELDS = 500  # against a form of countless empty fields

ENDED = frozenset(("completed", "busy", "no-answer", "failed", "canceled"))
"""Twilio's ``CallStatus`` of an ended call."""

CONVERSED = ("completed", "answered")
"""Twilio's ``DialCallStatus`` of an answered transfer."""

_CALL_SID = re.compile(r"CA[0-9a-fA-F]{32}")

_STATUS = {RefusalCause.FORM: 400, RefusalCause.NO_PUBLIC_URL: 503}
_ANSWERS = {
    400: "expected a form that names a call",
    403: "the signature is missing or wrong",
    503: "no public URL is known: start with --public-url or --tunnel",
}

Answer = Callable[[IncomingCall], Awaitable[str]]
AfterTransfer = Callable[[IncomingCall, str], Awaitable[str]]
OnStatus = Callable[[str, str], None]
NextStep = Callable[[IncomingCall, int, int], Awaitable[str]]

_MAX_ANSWERED = 4_000  # of 1.5 kB each with the answer
_COUNT_DIGITS = 7  # of a number in a query


def webhooks(  # noqa: PLR0915 - one route after another
    auth: StreamAuth,
    refusals: Refusals,
    answer: Answer,
    after_transfer: AfterTransfer,
    on_status: OnStatus | None = None,
    *,
    next_step: NextStep | None = None,
    after_message: Answer | None = None,
    whisper: Callable[[str], str] | None = None,
    line_number: Callable[[], str | None] = lambda: None,
) -> APIRouter:
    """Create ``POST /twiml``, ``/twiml/next``, ``/transferred``, ``/recorded``, ``/whisper`` and ``/status``.

    Args:
        auth: verifies signatures, mints tokens, and holds the public URL.
        refusals: counts and logs refused webhooks.
        answer: returns the TwiML for an incoming call.
        after_transfer: returns the TwiML for a call after a transfer, given Twilio's ``DialCallStatus``.
        on_status: called with each call's SID and status, whichever URL it was reported to; for an answering
            machine, ``machine_…`` (Twilio's ``AnsweredBy``).
        next_step: returns the TwiML for a call whose stream has ended, given the number of broken streams and
            the seconds on hold.
        after_message: returns the TwiML for a call whose caller has left a message; its parameters name the
            recording.
        whisper: returns the TwiML for the person who answers a transfer, given the SID of the caller's call.
        line_number: returns the number routed here, E.164; None if unknown.
    """
    answered: dict[str, str] = {}  # by signature, which covers the question: asked twice, done once
    router = APIRouter()

    async def once(request: Request, answer: Callable[[], Awaitable[str]]) -> Response:
        """Answer a question once; return the same answer to Twilio's retry, or to a replay."""
        signature = request.headers.get(HEADER, "")
        if signature in answered:
            return _xml(answered[signature])
        document = await answer()
        if signature:  # unsigned questions, with --insecure, cannot be told apart
            answered[signature] = document
            if len(answered) > _MAX_ANSWERED:
                del answered[next(iter(answered))]  # the oldest
        return _xml(document)

    def note_end(form: FormData) -> bool:
        """Forward a report of a call's end; return whether it is one."""
        status = str(form.get("CallStatus", "")).lower()
        if status not in ENDED:
            return False
        _log_status(form)
        if on_status:
            on_status(str(form["CallSid"]), status)
        return True

    @router.post(TWIML_PATH)
    async def twiml(request: Request) -> Response:
        """Answer an incoming call."""
        form = await read(request, TWIML_PATH)
        # With one URL in both of the console's fields, reports of a call's end also come here.
        if note_end(form):
            return _xml(nothing())
        call = _call(form, line_number())
        with call_context(call.call_sid):
            return await once(request, lambda: answer(call))

    if next_step is not None:

        @router.post(NEXT_PATH)
        async def after_stream(request: Request) -> Response:
            """Answer for a call whose stream has ended."""
            form = await read(request, NEXT_PATH)
            if note_end(form):
                return _xml(nothing())
            call = _call(form, line_number())
            resumes, held_secs = (_count(request, name) for name in ("resumes", "held"))
            with call_context(call.call_sid):
                return await once(request, lambda: next_step(call, resumes, held_secs))

    @router.post(TRANSFERRED_PATH)
    async def transferred(request: Request) -> Response:
        """Answer for a call after a transfer, answered or not."""
        form = await read(request, TRANSFERRED_PATH)
        call = _call(form, line_number())
        with call_context(call.call_sid):
            _log_dial_error(form)
            if note_end(form):
                return _xml(nothing())  # the caller hung up while the other phone rang
            return await once(request, lambda: after_transfer(call, str(form.get("DialCallStatus", ""))))

    if after_message is not None:

        @router.post(RECORDED_PATH)
        async def recorded(request: Request) -> Response:
            """Answer for a call whose caller has left a message, or has hung up."""
            call = _call(await read(request, RECORDED_PATH), line_number())
            with call_context(call.call_sid):
                return _xml(await after_message(call))

    if whisper is not None:

        @router.post(WHISPER_PATH)
        async def whispered(request: Request) -> Response:
            """Return the whisper for the person who answers a transfer."""
            await read(request, WHISPER_PATH)
            return _xml(whisper(request.query_params.get("call", "")))  # the signature covers the query

    @router.post(STATUS_PATH, status_code=204)
    async def status(request: Request) -> None:
        """Process the status of a call or of its stream."""
        form = await read(request, STATUS_PATH, is_call=False)
        sid = str(form.get("CallSid", ""))
        with call_context(sid):
            _log_status(form)
            if on_status and "AnsweredBy" in form:
                on_status(sid, str(form["AnsweredBy"]))
            elif on_status and "CallStatus" in form:  # absent in events of the stream
                on_status(sid, str(form["CallStatus"]))

    async def read(request: Request, path: str, *, is_call: bool = True) -> FormData:
        body, form = await read_body(request, MAX_BODY_BYTES), FormData()
        try:
            form = _parse(body)
            auth.verify_webhook(_signed_url(request, path, auth), form, request.headers.get(HEADER))
            if is_call:
                _check_call(form, auth)
        except WebhookRefused as refused:
            sid, peer = str(form.get("CallSid", "")), source_of(request)
            refusals.note(Where.WEBHOOK, refused.refusal, call_sid=sid, peer=peer)
            status = _STATUS.get(refused.refusal.cause, 403)
            raise HTTPException(status, _ANSWERS[status]) from refused
        return form

    return router


def _count(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < _COUNT_DIGITS else 0


def _xml(document: str) -> Response:
    return Response(document, media_type="application/xml")


def _call(form: FormData, line_number: str | None) -> IncomingCall:
    return IncomingCall.from_form({name: str(value) for name, value in form.items()}, line_number)


def _signed_url(request: Request, path: str, auth: StreamAuth) -> str | None:
    """Return the URL that Twilio signed: the number's webhook, with its query."""
    url = auth.address.https(path)
    return f"{url}?{request.url.query}" if url and request.url.query else url


def _parse(body: bytes) -> FormData:
    """Parse a form.

    Raises:
        WebhookRefused: if it is invalid.
    """
    try:
        # Text, not bytes, which parse_qsl would treat as ASCII: a caller from Zürich would be refused. Strict
        # UTF-8: nothing may be replaced in signed data.
        pairs = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            max_num_fields=MAX_FIELDS,
            encoding="utf-8",
            errors="strict",
        )
    except ValueError as error:
        raise WebhookRefused(RefusalCause.FORM, "it is no form in UTF-8") from error
    return FormData(list[tuple[str, str | UploadFile]](pairs))


def _check_call(form: FormData, auth: StreamAuth) -> None:
    """Check that the answer can connect the call to a stream.

    Raises:
        WebhookRefused: if the form contains no valid SID, or there is no public URL.
    """
    # Although Twilio signs it: with --insecure anyone can ask, and a token is minted for this SID.
    if not _CALL_SID.fullmatch(str(form.get("CallSid", ""))):
        raise WebhookRefused(RefusalCause.FORM, "it names no call")
    if auth.address.base is None:
        raise WebhookRefused(
            RefusalCause.NO_PUBLIC_URL, "no public URL is known: start with --public-url or --tunnel"
        )


def _log_dial_error(form: FormData) -> None:
    """Log why a transfer failed; Twilio reports it only here."""
    reported = [str(form[name]) for name in ("ErrorCode", "ErrorMessage") if form.get(name)]
    if reported:
        logger.error("The transfer failed: Twilio's error {}", redact(": ".join(reported)))


def _log_status(form: FormData) -> None:
    if event := form.get("StreamEvent"):
        error = form.get("StreamError")
        level = "WARNING" if error else "DEBUG"
        logger.log(level, "Twilio says {} {}", event, redact(str(error or "")))
        return
    names = ("AnsweredBy", "CallDuration", "SipResponseCode", "ErrorCode")
    more = [f"{name} {form[name]}" for name in names if name in form]
    logger.info("Twilio says {} {}", form.get("CallStatus", "?"), redact(", ".join(more)))
