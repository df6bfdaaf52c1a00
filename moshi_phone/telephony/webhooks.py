"""Twilio's webhooks: one route for each question about a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from loguru import logger
from starlette.datastructures import FormData

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
from moshi_phone.access.refusals import Refusals
from moshi_phone.access.signatures import HEADER
from moshi_phone.runtime.call_log import call_context
from moshi_phone.telephony.incoming_call import IncomingCall
from moshi_phone.telephony.twiml import nothing
from moshi_phone.telephony.webhook_form import WebhookForms, number_in_query

ENDED = frozenset(("completed", "busy", "no-answer", "failed", "canceled"))
"""Twilio's ``CallStatus`` of an ended call."""

CONVERSED = ("completed", "answered")
"""Twilio's ``DialCallStatus`` of an answered transfer."""

Answer = Callable[[IncomingCall], Awaitable[str]]
AfterTransfer = Callable[[IncomingCall, str], Awaitable[str]]
OnStatus = Callable[[str, str], None]
NextStep = Callable[[IncomingCall, int, int], Awaitable[str]]

_MAX_ANSWERED = 4_000  # of 1.5 kB each with the answer


def webhooks(  # noqa: PLR0915 - one route after another
    auth: StreamAuth,
    refusals: Refusals,
    answer: Answer,
    after_transfer: AfterTransfer,
    on_status: OnStatus | None = None,
    *,
    next_step: NextStep | None = None,
    after_message: Answer | None = None,
    whisper: Callable[[str], Awaitable[str]] | None = None,
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
    router, forms = APIRouter(), WebhookForms(auth, refusals)

    async def once(request: Request, answer: Callable[[], Awaitable[str]]) -> Response:
        """Answer a question once; return the same answer to Twilio's retry, or to a replay."""
        signature = request.headers.get(HEADER, "")
        if signature in answered:
            return _xml(answered[signature])
        document = await answer()
        if signature:  # unsigned requests, with --insecure, have nothing that identifies a repetition
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
        form = await forms.read(request, TWIML_PATH)
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
            form = await forms.read(request, NEXT_PATH)
            if note_end(form):
                return _xml(nothing())
            call = _call(form, line_number())
            resumes, held_secs = (number_in_query(request, name) for name in ("resumes", "held"))
            with call_context(call.call_sid):
                return await once(request, lambda: next_step(call, resumes, held_secs))

    @router.post(TRANSFERRED_PATH)
    async def transferred(request: Request) -> Response:
        """Answer for a call after a transfer, answered or not."""
        form = await forms.read(request, TRANSFERRED_PATH)
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
            call = _call(await forms.read(request, RECORDED_PATH), line_number())
            with call_context(call.call_sid):
                return _xml(await after_message(call))

    if whisper is not None:

        @router.post(WHISPER_PATH)
        async def whispered(request: Request) -> Response:
            """Return the whisper for the person who answers a transfer."""
            await forms.read(request, WHISPER_PATH)
            return _xml(await whisper(request.query_params.get("call", "")))  # the signature covers the query

    @router.post(STATUS_PATH, status_code=204)
    async def status(request: Request) -> None:
        """Process the status of a call or of its stream."""
        form = await forms.read(request, STATUS_PATH, is_call=False)
        sid = str(form.get("CallSid", ""))
        with call_context(sid):
            _log_status(form)
            if on_status and "AnsweredBy" in form:
                on_status(sid, str(form["AnsweredBy"]))
            elif on_status and "CallStatus" in form:  # absent in events of the stream
                on_status(sid, str(form["CallStatus"]))

    return router


def _xml(document: str) -> Response:
    return Response(document, media_type="application/xml")


def _call(form: FormData, line_number: str | None) -> IncomingCall:
    return IncomingCall.from_form({name: str(value) for name, value in form.items()}, line_number)


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
