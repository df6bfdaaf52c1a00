"""How a hook knows that it is us: HMAC-SHA256 over the time and the body, in a header. Pure."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "X-Moshi-Signature"


def sign(body: bytes, secret: str, now_secs: int) -> str:
    """Make the header's value: ``t=UNIX_SECONDS,v1=HEX``.

    Args:
        body: of the request, as it is sent.
        secret: ``MOSHI_HOOK_SECRET``, which the receiver has as well.
        now_secs: Unix seconds; signed too, so that what is replayed later can be told.
    """
    mac = hmac.new(secret.encode(), f"{now_secs}.".encode() + body, hashlib.sha256)
    return f"t={now_secs},v1={mac.hexdigest()}"


def is_signed(header: str, body: bytes, secret: str, now_secs: int, within_secs: int = 300) -> bool:
    """Tell whether a header fits a body: what a receiver in Python needs, and what docs/hooks.md shows.

    Args:
        header: ``X-Moshi-Signature``, as it came.
        body: of the request, as it came.
        secret: ``MOSHI_HOOK_SECRET``.
        now_secs: Unix seconds.
        within_secs: how old it may be; what is older may have been overheard and sent again.
    """
    try:
        fields = dict(part.split("=", 1) for part in header.split(","))
        signed_secs = int(fields["t"])
    except (ValueError, KeyError):
        return False
    expected = sign(body, secret, signed_secs)
    return abs(now_secs - signed_secs) <= within_secs and hmac.compare_digest(header, expected)
