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
    """A call that comes in, as Twilio's webhook tells of it.

    Attributes:
        call_sid: its name.
        from_: who calls, normalized (``caller_id.normalize``): E.164, ``anonymous``, or a SIP URI or client.
        to: who was called, normalized likewise; mostly a number of the account.
        direction: ``inbound``, or ``outbound-api`` for one that was dialled.
        caller_id: what a ``<Dial>`` from this call must show instead of its ``From``, E.164; None where the
            ``From`` will do. Twilio refuses (13214) to show a SIP address, a client or a withheld number.
        parameters: the webhook's other fields, by name.
    """

    call_sid: str
    from_: str = field(repr=False)
    to: str = field(repr=False)
    direction: str = "inbound"
    parameters: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    caller_id: str | None = field(default=None, repr=False)

    @classmethod
    def from_form(cls, form: Mapping[str, str], line_number: str | None = None) -> IncomingCall:
        """Read Twilio's form.

        Args:
            form: by name.
            line_number: a number of the account, E.164, to be shown for calls that came to a SIP address.
        """
        own = {"CallSid", "From", "To", "Direction", "AccountSid"}
        from_ = normalize(form.get("From"))
        to = normalize(form["To"]) if form.get("To") else ""
        # As it came: whatsapp:+1555… is a number's key, but none that a phone can be shown.
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
        """The account's number in this call; whoever dials it comes in again."""
        if self.direction.startswith("outbound"):
            return self.from_
        return self.to if is_number(self.to) else self.caller_id or self.to

    @property
    def party(self) -> str:
        """The person at the other end: who calls, or who was dialled."""
        return self.to if self.direction.startswith("outbound") else self.from_


MAX_BODY_BYTES = 64 * 1024  # Twilio's forms have one or two kilobytes
MAX_FIELDS = 500

ENDED = frozenset(("completed", "busy", "no-answer", "failed", "canceled"))
"""Twilio's ``CallStatus`` of a call that is over."""

CONVERSED = ("completed", "answered")
"""Twilio's ``DialCallStatus`` of a transfer in which the two talked."""

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

_MAX_ANSWERED = 4_000  # questions, of 1.5 kB each with its answer
_COUNT_DIGITS = 7


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
    """Make ``POST /twiml``, ``POST /twiml/next``, ``/transferred``, ``/recorded``, ``/whisper``, ``/status``.

    Args:
        auth: knows which webhooks are Twilio's, makes the tokens, and has the public URL.
        refusals: counts and logs those that are not.
        answer: says what to do with a call that comes in, as TwiML.
        after_transfer: says, as TwiML, what to do with a call that was transferred to another phone, given
            how that went (Twilio's ``DialCallStatus``).
        on_status: called with each call's SID and status as reported, to whichever URL; of a machine that
            has answered, ``machine_…`` (Twilio's ``AnsweredBy``).
        next_step: says, as TwiML, what to do with a call whose stream is over, given how many of its streams
            broke off before and for how many seconds it has been on hold.
        after_message: says, as TwiML, what to do with a call whose caller has left a message; its
            parameters name the recording.
        whisper: says, as TwiML, what the person who answers a transfer hears, given the caller's call.
        line_number: gives the number that rings here, E.164, as far as it is known.
    """
    answered: dict[str, str] = {}  # by the signature, which covers the question: asked twice, done once
    router = APIRouter()

    async def once(request: Request, answer: Callable[[], Awaitable[str]]) -> Response:
        """Answer a question, or say again what was answered: to Twilio's second try, or to a replay."""
        signature = request.headers.get(HEADER, "")
        if signature in answered:
            return _xml(answered[signature])
        document = await answer()
        if signature:
            answered[signature] = document
            if len(answered) > _MAX_ANSWERED:
                del answered[next(iter(answered))]
        return _xml(document)

    def note_end(form: FormData) -> bool:
        """Tell whether this is news of a call that is over, and pass it on."""
        status = str(form.get("CallStatus", "")).lower()
        if status not in ENDED:
            return False
        _log_status(form)
        if on_status:
            on_status(str(form["CallSid"]), status)
        return True

    @router.post(TWIML_PATH)
    async def twiml(request: Request) -> Response:
        """Say what to do with a call that comes in."""
        form = await read(request, TWIML_PATH)
        # One URL in both of the console's fields brings the news of a call's end here, too.
        if note_end(form):
            return _xml(nothing())
        call = _call(form, line_number())
        with call_context(call.call_sid):
            return await once(request, lambda: answer(call))

    if next_step is not None:

        @router.post(NEXT_PATH)
        async def after_stream(request: Request) -> Response:
            """Say what to do with a call whose stream is over."""
            form = await read(request, NEXT_PATH)
            if note_end(form):
                return _xml(nothing())
            call = _call(form, line_number())
            resumes, held_secs = (_count(request, name) for name in ("resumes", "held"))
            with call_context(call.call_sid):
                return await once(request, lambda: next_step(call, resumes, held_secs))

    @router.post(TRANSFERRED_PATH)
    async def transferred(request: Request) -> Response:
        """Say what to do with a call when the other phone has hung up, or was never answered."""
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
            """Say what to do with a call whose caller has left a message, or has hung up."""
            call = _call(await read(request, RECORDED_PATH), line_number())
            with call_context(call.call_sid):
                return _xml(await after_message(call))

    if whisper is not None:

        @router.post(WHISPER_PATH)
        async def whispered(request: Request) -> Response:
            """Say what to tell whoever has answered a transfer."""
            await read(request, WHISPER_PATH)
            return _xml(whisper(request.query_params.get("call", "")))  # signed by Twilio, query and all

    @router.post(STATUS_PATH, status_code=204)
    async def status(request: Request) -> None:
        """Take note of a call's new status, or of its stream's."""
        form = await read(request, STATUS_PATH, is_call=False)
        sid = str(form.get("CallSid", ""))
        with call_context(sid):
            _log_status(form)
            if on_status and "AnsweredBy" in form:
                on_status(sid, str(form["AnsweredBy"]))
            elif on_status and "CallStatus" in form:  # the stream's own events have none
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
    """Give the URL that Twilio signed: as the number has it, query and all."""
    url = auth.address.https(path)
    return f"{url}?{request.url.query}" if url and request.url.query else url


def _parse(body: bytes) -> FormData:
    """Read a form.

    Raises:
        WebhookRefused: when it is none.
    """
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
        raise WebhookRefused(RefusalCause.FORM, "it is no form in UTF-8") from error
    return FormData(list[tuple[str, str | UploadFile]](pairs))


def _check_call(form: FormData, auth: StreamAuth) -> None:
    """Make sure that the answer can connect the call with a stream.

    Raises:
        WebhookRefused: when the form names no call, or there is no public URL.
    """
    # Though Twilio signs it: with --insecure anybody may ask, and a token is made for this name.
    if not _CALL_SID.fullmatch(str(form.get("CallSid", ""))):
        raise WebhookRefused(RefusalCause.FORM, "it names no call")
    if auth.address.base is None:
        raise WebhookRefused(
            RefusalCause.NO_PUBLIC_URL, "no public URL is known: start with --public-url or --tunnel"
        )


def _log_dial_error(form: FormData) -> None:
    """Log why a transfer failed, which Twilio reports only here."""
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
