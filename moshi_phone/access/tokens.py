"""The token that a media stream must show before a session opens.

Twilio strips query strings and sends no header that we choose, so the token travels as a ``<Parameter>``
of the TwiML and comes back in the stream's ``start`` message. It is
``CALL.EXPIRY.NONCE.MAC``: the call that it is for, Unix seconds, 96 random bits, and HMAC-SHA256 over the
rest.

Two clocks: a token's expiry is in Unix time, because another process may have made it; that time is an
argument. That clock can be set back, which would make an expired token valid again. So spent tokens are
remembered by the monotonic clock, for a day, far longer than any token lives.
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
"""The name of the ``<Parameter>``, and so the key in ``start.customParameters``."""

PERSONA_PARAMETER, VOICE_PARAMETER = "persona", "voice"
"""What a call that was dialled for another server may ask of it; its token is bound to both."""

LIFETIME_SECS = 60.0
ANY_CALL = "any"
"""For a call that we place: its TwiML, token inside, is sent before Twilio has named the call."""

KEPT_SPENT_S = 24 * 3600.0
"""How long a spent token is remembered: 200 bytes for each stream of a day that was let in."""

_MAX_NEWEST = 10_000  # calls whose newest token is remembered
_NONCE_BYTES = 12
_MAX_CHARS = 500  # Twilio's limit for a parameter's value
_PURPOSE = b"moshi-phone stream token 1"
_BOUND = b"bound to "
_CALL = re.compile(r"[A-Za-z0-9_-]{1,100}")
_EXPIRY = re.compile(r"[0-9]{1,15}")


class TokenRefused(Exception):
    """A stream's token is not accepted. The text says why, and never contains the token.

    Attributes:
        cause: one of the causes that begin with ``TOKEN_``.
    """

    def __init__(self, cause: RefusalCause, text: str) -> None:
        super().__init__(text)
        self.cause = cause


def overrides_digest_input(persona: str, voice: str) -> str:
    """Encode a call's overrides for the token that is bound to them; empty where there are none."""
    return f"{len(persona)}:{persona}{voice}" if persona or voice else ""


class StreamTokens:
    """Makes tokens, and accepts each of them once.

    Two processes with the same auth token accept each other's tokens, so that ``dial`` can send a call
    to a server that runs elsewhere. Which tokens have been spent is known to one process only.

    Args:
        key: of the MAC.
        clock: gives seconds, monotonic.
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
        self._spent: set[str] = set()  # the nonces of the queue, to be found at once
        self._spent_at: deque[tuple[float, str]] = deque()  # the oldest first
        self._newest: dict[str, str] = {}  # the nonce of each call's newest token; the oldest call first

    @classmethod
    def from_auth_token(cls, auth_token: str | None) -> StreamTokens:
        """Derive the key from Twilio's auth token, or make one for this process where there is none."""
        if not auth_token:
            return cls(secrets.token_bytes(32))
        return cls(hmac.digest(auth_token.encode(), _PURPOSE, hashlib.sha256))

    def mint(
        self, call: str, now_secs: float, lifetime_secs: float = LIFETIME_SECS, *, bound_to: str = ""
    ) -> str:
        """Make a token that lets one stream of this call in, until it expires. It voids older ones.

        Args:
            call: the call's SID, any other name that its ``start`` message will carry as ``callSid``,
                or ``ANY_CALL``.
            now_secs: Unix time.
            lifetime_secs: how long the token is good for.
            bound_to: what the stream must say beside the token, word for word.

        Raises:
            ValueError: when the name of the call has other characters than letters, digits, ``_``, ``-``.
        """
        if not _CALL.fullmatch(call):
            raise ValueError(f"expected a call SID, got {call!r}")
        # Hexadecimal: dots separate a token's parts, and TwiML must carry it without escapes.
        nonce = secrets.token_hex(_NONCE_BYTES)
        if call != ANY_CALL:  # Twilio asks twice where it had no answer: only the last one connects the call
            self._newest.pop(call, None)
            self._newest[call] = nonce
            if len(self._newest) > _MAX_NEWEST:
                del self._newest[next(iter(self._newest))]
        body = f"{call}.{int(now_secs + lifetime_secs)}.{nonce}"
        return f"{body}.{self._mac(body, bound_to)}"

    def spend(self, token: object, call: str, now_secs: float, *, bound_to: str = "") -> None:
        """Accept the token for this call, once.

        Args:
            token: what came from outside: anything at all.
            call: the ``callSid`` of the stream's ``start`` message.
            now_secs: Unix time.
            bound_to: what the stream says beside it.

        Raises:
            TokenRefused: saying why.
        """
        if token is None or token == "":
            raise TokenRefused(RefusalCause.TOKEN_MISSING, "the stream shows no token")
        if not isinstance(token, str) or len(token) > _MAX_CHARS:
            raise TokenRefused(RefusalCause.TOKEN_INVALID, "the stream's token is not one of ours")
        body, _, mac = token.rpartition(".")
        # As bytes: compare_digest refuses text that is not ASCII, and this may be anything.
        if not hmac.compare_digest(self._mac(body, bound_to).encode(), mac.encode(errors="replace")):
            raise TokenRefused(RefusalCause.TOKEN_INVALID, "the stream's token is not one of ours")
        # Taken apart only now: what has the right MAC has the form that we gave it.
        made_for, expiry_text, nonce = body.split(".")
        expiry = int(expiry_text) if _EXPIRY.fullmatch(expiry_text) else 0
        if now_secs >= expiry:
            ago_s = now_secs - expiry
            raise TokenRefused(RefusalCause.TOKEN_EXPIRED, f"the stream's token expired {ago_s:.0f} s ago")
        if made_for not in (ANY_CALL, call):
            raise TokenRefused(RefusalCause.TOKEN_OTHER_CALL, "the stream's token was made for another call")
        now_s = self._clock()
        # First, to bound the memory: a nonce that is forgotten belongs to a token long expired.
        self._forget_old(now_s)
        if nonce in self._spent:
            raise TokenRefused(RefusalCause.TOKEN_REUSED, "the stream's token has been used before")
        if self._newest.get(made_for, nonce) != nonce:
            raise TokenRefused(RefusalCause.TOKEN_REPLACED, "the stream's token was replaced by a newer one")
        # Last: a token that was refused stays usable by the call that it was made for.
        self._spent.add(nonce)
        self._spent_at.append((now_s, nonce))

    @property
    def spent(self) -> Collection[str]:
        """The nonces of the tokens that were spent within the last day."""
        return self._spent

    def _forget_old(self, now_s: float) -> None:
        while self._spent_at and now_s - self._spent_at[0][0] >= self._kept_spent_s:
            self._spent.discard(self._spent_at.popleft()[1])

    def _mac(self, body: str, bound_to: str) -> str:
        # A key of its own for what it is bound to: no text that is put together can stand for another.
        bound = bound_to.encode(errors="replace")
        key = hmac.digest(self._key, _BOUND + bound, hashlib.sha256) if bound else self._key
        digest = hmac.digest(key, body.encode(errors="replace"), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
