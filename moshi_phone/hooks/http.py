"""Requests to hooks: POST with JSON, signed by HMAC-SHA256 over time and body."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

from moshi_phone.runtime.errors import UserError
from moshi_phone.runtime.urls import split_url

HEADER = "X-Moshi-Signature"


def sign(body: bytes, secret: str, unix_s: int) -> str:
    """Return the header's value: ``t=UNIX_SECONDS,v1=HEX``.

    Args:
        body: the request's body, byte for byte.
        secret: ``MOSHI_HOOK_SECRET``, which the receiver has as well.
        unix_s: Unix seconds; signed too, so that replays can be detected.
    """
    mac = hmac.new(secret.encode(), f"{unix_s}.".encode() + body, hashlib.sha256)
    return f"t={unix_s},v1={mac.hexdigest()}"


def is_signed(header: str, body: bytes, secret: str, unix_s: int, within_secs: int = 300) -> bool:
    """Verify a signature, for receivers in Python; docs/hooks.md shows the same code.

    Args:
        header: the received ``X-Moshi-Signature``.
        body: the received body, byte for byte.
        secret: ``MOSHI_HOOK_SECRET``.
        unix_s: Unix seconds.
        within_secs: maximum age; an older signature may be a replay.
    """
    try:
        fields = dict(part.split("=", 1) for part in header.split(","))
        signed_secs = int(fields["t"])
    except (ValueError, KeyError):
        return False
    expected = sign(body, secret, signed_secs)
    return abs(unix_s - signed_secs) <= within_secs and hmac.compare_digest(header, expected)


MAX_ANSWER_BYTES = 64 * 1024
HTTP_OK, HTTP_BAD = 200, 300


class HookFailed(Exception):
    """The hook failed. The message gives the reason, without any sent or received content.

    Attributes:
        answered: whether it answered at all.
    """

    def __init__(self, text: str, *, answered: bool = True) -> None:
        super().__init__(text)
        self.answered = answered


class BadHookUrl(UserError):
    """A hook's URL is invalid."""


def parse_hook_url(text: str, option: str) -> str:
    """Check a hook's URL.

    Raises:
        BadHookUrl: unless it is http or https, with a host.
    """
    parts = split_url(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise BadHookUrl(f"{option}: expected a URL such as https://crm.example.com/calls, got {text!r}.")
    return text.strip()


@dataclass(frozen=True)
class Hook:
    """A user's webhook.

    Attributes:
        url: http or https.
        secret: signs requests; None sends them unsigned.
        limit_secs: for the whole request, its answer included.
        clock: Unix seconds.
    """

    url: str = field(repr=False)  # it may carry a key of the receiver's
    secret: str | None = field(default=None, repr=False)
    limit_secs: float = 2.0
    clock: Callable[[], float] = time.time

    async def post(self, event: Mapping[str, object]) -> bytes:
        """Send JSON, and return the response's body.

        A redirect is a failure: it would send a caller's words to an unintended host.

        Raises:
            HookFailed: when the hook is unreachable or late, its status is not 2xx, or its body is too long.
        """
        # Encoded once: the signature must cover exactly the bytes that are sent.
        # Lone surrogates from received JSON have no UTF-8 form: "replace" sends a question mark.
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if self.secret:
            headers[HEADER] = sign(body, self.secret, int(self.clock()))
        timeout = aiohttp.ClientTimeout(total=self.limit_secs)
        try:
            async with (
                # A session each: requests are rare, and an idle connection may be dead.
                aiohttp.ClientSession(timeout=timeout) as http,
                http.post(self.url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                # Before the body is read: an error page is of no use, and may be long.
                if not HTTP_OK <= answer.status < HTTP_BAD:
                    raise HookFailed(f"it answers {answer.status}")
                return await _bounded(answer.content)
        except TimeoutError as error:
            raise HookFailed(f"it does not answer in {self.limit_secs:g} s", answered=False) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HookFailed(f"it cannot be asked ({type(error).__name__})", answered=False) from error


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    """Read an answer up to a limit."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise HookFailed(f"it answers with more than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)
