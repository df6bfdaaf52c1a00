"""Causes of refused calls, as in the log, the metrics and docs/access.md."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# Close codes of refused streams (RFC 6455, section 7.4).
PROTOCOL_ERROR, UNSUPPORTED, POLICY_VIOLATION, INTERNAL_ERROR = 1002, 1003, 1008, 1011
SERVICE_RESTART, TRY_AGAIN_LATER = 1012, 1013


class Where(StrEnum):
    """The entrance at which a call was refused."""

    WEBHOOK = "webhook"
    STREAM = "stream"
    BROWSER = "browser"


class RefusalCause(StrEnum):
    """Why a call was refused; docs/access.md explains each cause and its remedy."""

    # The caller is authenticated, but not accepted.
    DENIED = "denied"
    RATE = "rate"
    HOOK = "hook"
    HOOK_FAILED = "hook_failed"
    REQUEST = "request"

    # The server cannot take the call.
    BUSY = "busy"
    OVERLOAD = "overload"
    CLOSING = "closing"
    ENGINE = "engine"

    # The sender is not authenticated.
    FORM = "form"
    UNSIGNED = "unsigned"
    SIGNATURE = "signature"
    NO_AUTH_TOKEN = "no_auth_token"  # noqa: S105 - a name, no secret
    NO_PUBLIC_URL = "no_public_url"
    TOKEN_MISSING = "token_missing"  # noqa: S105
    TOKEN_INVALID = "token_invalid"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_OTHER_CALL = "token_other_call"  # noqa: S105
    TOKEN_REUSED = "token_reused"  # noqa: S105
    TOKEN_REPLACED = "token_replaced"  # noqa: S105
    REMOTE = "remote"
    ORIGIN = "origin"
    LATE = "late"
    PROTOCOL = "protocol"
    FORMAT = "format"


_SERVER = (RefusalCause.BUSY, RefusalCause.CLOSING, RefusalCause.ENGINE)
CAUSES = {
    Where.WEBHOOK: (
        *(RefusalCause.DENIED, RefusalCause.RATE, RefusalCause.HOOK, RefusalCause.HOOK_FAILED),
        *_SERVER,
        RefusalCause.OVERLOAD,
        *(RefusalCause.FORM, RefusalCause.UNSIGNED, RefusalCause.SIGNATURE),
        *(RefusalCause.NO_AUTH_TOKEN, RefusalCause.NO_PUBLIC_URL),
    ),
    Where.STREAM: (
        RefusalCause.REQUEST,
        *_SERVER,
        *(RefusalCause.SIGNATURE, RefusalCause.TOKEN_MISSING, RefusalCause.TOKEN_INVALID),
        *(RefusalCause.TOKEN_EXPIRED, RefusalCause.TOKEN_OTHER_CALL, RefusalCause.TOKEN_REUSED),
        RefusalCause.TOKEN_REPLACED,
        *(RefusalCause.REMOTE, RefusalCause.ORIGIN),
        *(RefusalCause.LATE, RefusalCause.PROTOCOL, RefusalCause.FORMAT),
    ),
    Where.BROWSER: _SERVER,
}
"""The possible causes at each entrance."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one call was refused.

    Attributes:
        cause: for the metrics.
        reason: one sentence for the log, without numbers or secrets.
    """

    cause: RefusalCause
    reason: str


_CODES = {
    RefusalCause.PROTOCOL: PROTOCOL_ERROR,
    RefusalCause.FORMAT: UNSUPPORTED,
    RefusalCause.BUSY: TRY_AGAIN_LATER,
    RefusalCause.CLOSING: TRY_AGAIN_LATER,
    RefusalCause.ENGINE: INTERNAL_ERROR,
}


class StreamRefused(Exception):
    """A stream that is not admitted as a call.

    Attributes:
        refusal: why; the peer gets its reason as well.
        code: close code of the socket (RFC 6455, section 7.4).
    """

    def __init__(self, cause: RefusalCause, reason: str) -> None:
        super().__init__(reason)
        self.refusal = Refusal(cause, reason)
        self.code = _CODES.get(cause, POLICY_VIOLATION)


class WebhookRefused(Exception):
    """A webhook that is not verified as Twilio's.

    Attributes:
        refusal: why.
    """

    def __init__(self, cause: RefusalCause, reason: str) -> None:
        super().__init__(reason)
        self.refusal = Refusal(cause, reason)
