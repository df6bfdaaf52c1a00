"""Why a stream may not become a call, and what its socket is closed with (codes: RFC 6455, section 7.4)."""

from __future__ import annotations

PROTOCOL_ERROR, UNSUPPORTED, POLICY_VIOLATION, INTERNAL_ERROR, TRY_AGAIN_LATER = 1002, 1003, 1008, 1011, 1013


class StreamRefused(Exception):
    """A stream that may not become a call.

    Attributes:
        cause: a word for the metrics: ``protocol``, ``format``, ``late``, ``token``, ``busy``, ….
        code: what the socket is closed with (RFC 6455, section 7.4).
        reason: one sentence, for the other side and for the log.
    """

    def __init__(self, cause: str, code: int, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause
        self.code = code
        self.reason = reason
