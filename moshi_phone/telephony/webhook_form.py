"""The form of a webhook: read, verified and parsed, or refused with an HTTP status.

Strangers reach this before anything else of the program, so everything here has a limit.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request
from starlette.datastructures import FormData, UploadFile

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.refusal import RefusalCause, WebhookRefused, Where
from moshi_phone.access.refusals import Refusals
from moshi_phone.access.request_body import read_body
from moshi_phone.access.signatures import HEADER
from moshi_phone.access.source import source_of

MAX_BODY_BYTES = 64 * 1024  # Twilio's forms have one or two kilobytes
MAX_FIELDS = 500  # limits a form of countless empty fields

_MAX_DIGITS = 6  # of a number in a query
_CALL_SID = re.compile(r"CA[0-9a-fA-F]{32}")

_STATUS = {RefusalCause.FORM: 400, RefusalCause.NO_PUBLIC_URL: 503}
_ANSWERS = {
    400: "expected a form that names a call",
    403: "the signature is missing or wrong",
    503: "no public URL is known: start with --public-url or --tunnel",
}


class WebhookForms:
    """Reads the forms of requests that Twilio has signed.

    Args:
        auth: verifies signatures, and holds the public URL.
        refusals: counts and logs refused requests.
    """

    def __init__(self, auth: StreamAuth, refusals: Refusals) -> None:
        self._auth = auth
        self._refusals = refusals

    async def read(self, request: Request, path: str, *, is_call: bool = True) -> FormData:
        """Read and verify a form.

        Args:
            request: unread.
            path: of the route; the signature covers it.
            is_call: whether the answer connects the call, which takes a SID and a public URL.

        Raises:
            HTTPException: 400 for another body than a form, 403 for a bad signature, 413 for a long body, 503
                without a public URL.
        """
        body, form = await read_body(request, MAX_BODY_BYTES), FormData()
        try:
            form = _parse(body)
            self._auth.verify_webhook(self._signed_url(request, path), form, request.headers.get(HEADER))
            if is_call:
                self._check_call(form)
        except WebhookRefused as refused:
            sid, peer = str(form.get("CallSid", "")), source_of(request)
            self._refusals.note(Where.WEBHOOK, refused.refusal, call_sid=sid, peer=peer)
            status = _STATUS.get(refused.refusal.cause, 403)
            raise HTTPException(status, _ANSWERS[status]) from refused
        return form

    def _signed_url(self, request: Request, path: str) -> str | None:
        """Return the URL that Twilio signed: the number's webhook, with its query."""
        # Not the request's own URL, which the tunnel has changed, and whose host any client may claim.
        url = self._auth.address.https(path)
        return f"{url}?{request.url.query}" if url and request.url.query else url

    def _check_call(self, form: FormData) -> None:
        # Checked although Twilio signs it: with --insecure anyone can post, and a token is minted for this
        # SID.
        if not _CALL_SID.fullmatch(str(form.get("CallSid", ""))):
            raise WebhookRefused(RefusalCause.FORM, "it names no call")
        if self._auth.address.base is None:
            raise WebhookRefused(
                RefusalCause.NO_PUBLIC_URL, "no public URL is known: start with --public-url or --tunnel"
            )


def number_in_query(request: Request, name: str) -> int:
    """Return a number of the request's query; 0 if it is missing, no number, or too long."""
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else 0


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
