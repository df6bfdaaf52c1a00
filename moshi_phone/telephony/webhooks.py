"""Twilio's webhooks: one route for each question about a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

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
from moshi_phone.telephony.remembered_answers import RememberedAnswers
from moshi_phone.telephony.twiml import nothing
from moshi_phone.telephony.webhook_form import WebhookForms, number_in_query

ENDED = frozenset(("completed", "busy", "no-answer", "failed", "canceled"))
"""Twilio's ``CallStatus`` of an ended call."""

CONVERSED = ("completed", "answered")
"""Twilio's ``DialCallStatus`` of an answered transfer."""

Answer = Callable[[IncomingCall], Awaitable[str]]
AfterTransfer = Callable[[IncomingCall, str], Awaitable[str]]
OnStatus = Callable[[str, str], None]
AfterStream = Callable[[IncomingCall, int, int], Awaitable[str]]
Whisper = Callable[[str], Awaitable[str]]


@dataclass(frozen=True)
class CallAnswers:
    """Returns the TwiML for each question about a call.

    Attributes:
        incoming: for an incoming call.
        after_transfer: for a call after a transfer, given Twilio's ``DialCallStatus``.
        after_stream: for a call whose stream has ended, given the number of broken streams and the seconds on
            hold.
        after_message: for a call whose caller has left a message; its parameters name the recording.
        whisper: for the person who answers a transfer, given the SID of the caller's call.
    """

    incoming: Answer
    after_transfer: AfterTransfer
    after_stream: AfterStream
    after_message: Answer
    whisper: Whisper


def webhooks(
    auth: StreamAuth,
    refusals: Refusals,
    answers: CallAnswers,
    on_status: OnStatus | None = None,
    line_number: Callable[[], str | None] = lambda: None,
    *,
    remembered: RememberedAnswers | None = None,
) -> APIRouter:
    """Create the routes of Twilio's webhooks, one for each answer, and ``POST /status``.

    Args:
        auth: verifies signatures, and holds the public URL.
        refusals: counts and logs refused webhooks.
        answers: returns the TwiML.
        on_status: called with each call's SID and status, whichever URL it was reported to; for an answering
            machine, ``machine_…`` (Twilio's ``AnsweredBy``).
        line_number: returns the number routed here, E.164; None if unknown.
        remembered: stores the answers; by default, for these routes alone.
    """
    handlers = WebhookHandlers(
        WebhookForms(auth, refusals),
        answers,
        on_status or _ignore,
        line_number,
        remembered or RememberedAnswers(),
    )
    router = APIRouter()
    router.post(TWIML_PATH)(handlers.incoming)
    router.post(TRANSFERRED_PATH)(handlers.after_transfer)
    router.post(NEXT_PATH)(handlers.after_stream)
    router.post(RECORDED_PATH)(handlers.after_message)
    router.post(WHISPER_PATH)(handlers.whisper)
    router.post(STATUS_PATH, status_code=204)(handlers.status)
    return router


class WebhookHandlers:
    """The routes' functions. Arguments as of ``webhooks``."""

    def __init__(
        self,
        forms: WebhookForms,
        answers: CallAnswers,
        on_status: OnStatus,
        line_number: Callable[[], str | None],
        remembered: RememberedAnswers,
    ) -> None:
        self._forms = forms
        self._answers = answers
        self._on_status = on_status
        self._line_number = line_number
        self._remembered = remembered

    async def incoming(self, request: Request) -> Response:
        """Answer an incoming call."""
        form = await self._forms.read(request, TWIML_PATH)
        # With one URL in both of the console's fields, reports of a call's end also come here.
        if self._is_end(form):
            return _xml(nothing())
        call = self._call(form)
        with call_context(call.call_sid):
            return await self._once(request, lambda: self._answers.incoming(call))

    async def after_stream(self, request: Request) -> Response:
        """Answer for a call whose stream has ended."""
        form = await self._forms.read(request, NEXT_PATH)
        if self._is_end(form):
            return _xml(nothing())
        call = self._call(form)
        resumes, held_secs = (number_in_query(request, name) for name in ("resumes", "held"))
        with call_context(call.call_sid):
            return await self._once(request, lambda: self._answers.after_stream(call, resumes, held_secs))

    async def after_transfer(self, request: Request) -> Response:
        """Answer for a call after a transfer, whether anybody answered it or not."""
        form = await self._forms.read(request, TRANSFERRED_PATH)
        call = self._call(form)
        with call_context(call.call_sid):
            _log_dial_error(form)
            if self._is_end(form):
                return _xml(nothing())  # the caller hung up while the other phone rang
            status = str(form.get("DialCallStatus", ""))
            return await self._once(request, lambda: self._answers.after_transfer(call, status))

    async def after_message(self, request: Request) -> Response:
        """Answer for a call whose caller has left a message, or has hung up."""
        call = self._call(await self._forms.read(request, RECORDED_PATH))
        with call_context(call.call_sid):
            return _xml(await self._answers.after_message(call))

    async def whisper(self, request: Request) -> Response:
        """Return the whisper for the person who answers a transfer."""
        await self._forms.read(request, WHISPER_PATH)
        call_sid = request.query_params.get("call", "")  # trusted: the signature covers the query
        return _xml(await self._answers.whisper(call_sid))

    async def status(self, request: Request) -> None:
        """Process the status of a call or of its stream."""
        form = await self._forms.read(request, STATUS_PATH, is_call=False)
        sid = str(form.get("CallSid", ""))
        with call_context(sid):
            _log_status(form)
            if "AnsweredBy" in form:
                self._on_status(sid, str(form["AnsweredBy"]))
            elif "CallStatus" in form:  # absent in events of the stream
                self._on_status(sid, str(form["CallStatus"]))

    async def _once(self, request: Request, answer: Callable[[], Awaitable[str]]) -> Response:
        """Answer a question once; return the same answer to Twilio's retry, or to a replay."""
        signature = request.headers.get(HEADER, "")
        document = await self._remembered.find(signature)
        if document is None:
            document = await answer()
            self._remembered.add(signature, document)
        return _xml(document)

    def _is_end(self, form: FormData) -> bool:
        """Forward a report of a call's end; return whether it is one."""
        status = str(form.get("CallStatus", "")).lower()
        if status not in ENDED:
            return False
        _log_status(form)
        self._on_status(str(form["CallSid"]), status)
        return True

    def _call(self, form: FormData) -> IncomingCall:
        return IncomingCall.from_form({name: str(value) for name, value in form.items()}, self._line_number())


def _ignore(_call_sid: str, _status: str) -> None:
    pass


def _xml(document: str) -> Response:
    return Response(document, media_type="application/xml")


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
