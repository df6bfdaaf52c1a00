"""The token that a media stream must show before a session opens.

Twilio strips query strings and sends no header that we choose, so the token travels as a ``<Parameter>``
of the TwiML and comes back in the stream's ``start`` message. It is
``CALL.EXPIRY.NONCE.MAC``: the call that it is for, Unix seconds, 96 random bits, and HMAC-SHA256 over the
rest.

Two clocks: a token's expiry is in Unix time, because another process may have made it; that time is an
argument. That clock can be set back, which would make an expired token valid again. So spent tokens are
remembered by the monotonic clock, for a day, far longer than any token is valid.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection

from moshi_phone.access.refusal import RefusalCause

PARAMETER = "token"
"""Name of the ``<Parameter>``, and thus the key in ``start.customParameters``."""

PERSONA_PARAMETER, VOICE_PARAMETER = "persona", "voice"
"""Overrides in a call dialled for another server; its token is bound to both."""

LIFETIME_SECS = 60.0
ANY_CALL = "any"
"""For a call that we place: its TwiML, with the token, is sent before Twilio has assigned a SID."""

KEPT_SPENT_S = 24 * 3600.0
"""How long a spent token is remembered; 200 bytes for each admitted stream of a day."""

_MAX_NEWEST = 10_000  # calls whose newest token is remembered
_NONCE_BYTES = 12
_MAX_CHARS = 500  # Twilio's limit for a parameter's value
_PURPOSE = b"moshi-phone stream token 1"
_BOUND = b"bound to "
_CALL = re.compile(r"[A-Za-z0-9_-]{1,100}")
_EXPIRY = re.compile(r"[0-9]{1,15}")


class TokenRefused(Exception):
    """A stream's token is not accepted. The text states the reason, and never contains the token.

    Attributes:
        cause: one of the causes that begin with ``TOKEN_``.
    """

    def __init__(self, cause: RefusalCause, text: str) -> None:
        super().__init__(text)
        self.cause = cause


def overrides_digest_input(persona: str, voice: str) -> str:
    """Encode a call's overrides for the token bound to them; empty without overrides."""
    return f"{len(persona)}:{persona}{voice}" if persona or voice else ""


class StreamTokens:
    """Mints tokens, and accepts each once.

    Two processes with the same auth token accept each other's tokens, so that ``dial`` can send a call
    to a server that runs elsewhere. Which tokens have been spent is known to one process only.

    Args:
        key: of the MAC.
        clock: returns seconds, monotonic.
        kept_spent_s: how long a spent token is remembered.
    """

    def __init__(
        self,
        key: bytes,
        clock: Callable[[], float] = time.monotonic,
        kept_spent_s: float = KEPT_SPENT_S,
    ) -> None:
        self._key = key  # derived from the auth token, so that another process can mint for us
        self._clock = clock
        self._kept_spent_s = kept_spent_s
        self._spent: set[str] = set()  # nonces in the queue, for fast look-up
        self._spent_at: deque[tuple[float, str]] = deque()  # oldest first
        self._newest: dict[str, str] = {}  # nonce of each call's newest token; oldest call first

    @classmethod
    def from_auth_token(cls, auth_token: str | None) -> StreamTokens:
        """Derive the key from Twilio's auth token; without one, create a random key for this process."""
        if not auth_token:
            return cls(secrets.token_bytes(32))
        return cls(hmac.digest(auth_token.encode(), _PURPOSE, hashlib.sha256))

    def mint(
        self, call: str, unix_s: float, lifetime_secs: float = LIFETIME_SECS, *, bound_to: str = ""
    ) -> str:
        """Mint a token that admits one stream of this call until it expires. It voids older ones.

        Args:
            call: the call's SID, or another name that its ``start`` message carries as ``callSid``, or
                ``ANY_CALL``.
            unix_s: Unix time.
            lifetime_secs: validity of the token.
            bound_to: text that the stream must present with the token, verbatim.

        Raises:
            ValueError: if the call's name contains characters other than letters, digits, ``_``, ``-``.
        """
        if not _CALL.fullmatch(call):
            raise ValueError(f"expected a call SID, got {call!r}")
        # Hexadecimal: dots separate a token's parts, and TwiML must carry it without escapes.
        nonce = secrets.token_hex(_NONCE_BYTES)
        if call != ANY_CALL:  # Twilio repeats unanswered requests: the last token counts
            self._newest.pop(call, None)
            self._newest[call] = nonce
            if len(self._newest) > _MAX_NEWEST:
                del self._newest[next(iter(self._newest))]
        body = f"{call}.{int(unix_s + lifetime_secs)}.{nonce}"
        return f"{body}.{self._mac(body, bound_to)}"

    def spend(self, token: object, call: str, unix_s: float, *, bound_to: str = "") -> None:
        """Accept the token for this call, once.

        Args:
            token: as received; may be anything.
            call: the ``callSid`` of the stream's ``start`` message.
            unix_s: Unix time.
            bound_to: text presented with it.

        Raises:
            TokenRefused: with the reason.
        """
        if token is None or token == "":
            raise TokenRefused(RefusalCause.TOKEN_MISSING, "the stream shows no token")
        if not isinstance(token, str) or len(token) > _MAX_CHARS:
            raise TokenRefused(RefusalCause.TOKEN_INVALID, "the stream's token is not one of ours")
        body, _, mac = token.rpartition(".")
        # As bytes: compare_digest rejects non-ASCII text, and this may be anything.
        if not hmac.compare_digest(self._mac(body, bound_to).encode(), mac.encode(errors="replace")):
            raise TokenRefused(RefusalCause.TOKEN_INVALID, "the stream's token is not one of ours")
        # Parsed only now: a token with the right MAC has our format.
        made_for, expiry_text, nonce = body.split(".")
        expiry = int(expiry_text) if _EXPIRY.fullmatch(expiry_text) else 0
        if unix_s >= expiry:
            ago_s = unix_s - expiry
            raise TokenRefused(RefusalCause.TOKEN_EXPIRED, f"the stream's token expired {ago_s:.0f} s ago")
        if made_for not in (ANY_CALL, call):
            raise TokenRefused(RefusalCause.TOKEN_OTHER_CALL, "the stream's token was made for another call")
        now_s = self._clock()
        # First, to bound the memory: a dropped nonce belongs to a token long expired.
        self._forget_old(now_s)
        if nonce in self._spent:
            raise TokenRefused(RefusalCause.TOKEN_REUSED, "the stream's token has been used before")
        if self._newest.get(made_for, nonce) != nonce:
            raise TokenRefused(RefusalCause.TOKEN_REPLACED, "the stream's token was replaced by a newer one")
        # Last: a refused token stays usable by its own call.
        self._spent.add(nonce)
        self._spent_at.append((now_s, nonce))

    @property
    def spent(self) -> Collection[str]:
        """Nonces of the tokens spent within the last day."""
        return self._spent

    def _forget_old(self, now_s: float) -> None:
        while self._spent_at and now_s - self._spent_at[0][0] >= self._kept_spent_s:
            self._spent.discard(self._spent_at.popleft()[1])

    def _mac(self, body: str, bound_to: str) -> str:
        # A separate key for the bound text: no concatenation of other fields can replace it.
        bound = bound_to.encode(errors="replace")
        key = hmac.digest(self._key, _BOUND + bound, hashlib.sha256) if bound else self._key
        digest = hmac.digest(key, body.encode(errors="replace"), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
