"""One signed request to a hook, with a limit on everything."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from moshi_phone.hooks.signing import HEADER, sign
from moshi_phone.runtime.errors import UserError
from moshi_phone.runtime.urls import split_url

MOST_ANSWER_BYTES = 64 * 1024
HTTP_OK, HTTP_BAD = 200, 300


class HookFailed(Exception):
    """The hook did not answer as it should. The text says how, without what was sent or answered.

    Attributes:
        answered: whether it answered at all.
    """

    def __init__(self, text: str, *, answered: bool = True) -> None:
        super().__init__(text)
        self.answered = answered


class BadHookUrl(UserError):
    """What was given for a hook is no URL that can be asked."""


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
    """A URL that is told things.

    Attributes:
        url: http or https.
        secret: signs what is sent; None sends it unsigned.
        limit_secs: for the whole request, its answer included.
        clock: Unix seconds.
    """

    url: str = field(repr=False)  # it may carry a key of the receiver's
    secret: str | None = field(default=None, repr=False)
    limit_secs: float = 2.0
    clock: Callable[[], float] = time.time

    async def post(self, what: dict[str, Any]) -> bytes:
        """Send JSON, and give the answer's body.

        A redirect is a failure: it would carry a caller's words to where nobody meant them to go.

        Raises:
            HookFailed: when it is not reached, not in time, or answers anything but 2xx, or too much.
        """
        # Made once, as bytes: what is signed must be to the byte what is sent.
        body = json.dumps(what, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if self.secret:
            headers[HEADER] = sign(body, self.secret, int(self.clock()))
        timeout = aiohttp.ClientTimeout(total=self.limit_secs)
        try:
            async with (
                # A session each: hooks are asked once in a while, and a kept connection may be a dead one.
                aiohttp.ClientSession(timeout=timeout) as http,
                http.post(self.url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                if not HTTP_OK <= answer.status < HTTP_BAD:
                    raise HookFailed(f"it answers {answer.status}")
                return await _bounded(answer.content)
        except TimeoutError as error:
            raise HookFailed(f"it does not answer in {self.limit_secs:g} s", answered=False) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HookFailed(f"it cannot be asked ({type(error).__name__})", answered=False) from error


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    """Read an answer, but not more than anybody needs."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > MOST_ANSWER_BYTES:
            raise HookFailed(f"it answers with more than {MOST_ANSWER_BYTES} bytes")
    return bytes(body)
