"""Verifies Twilio's signatures of webhooks and WebSocket handshakes.

Twilio signs the URL in its configuration (and, for a webhook, the form) with the account's auth token. We
verify against the URL in our configuration, never against one named in the request.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import FormData
from twilio.request_validator import RequestValidator

HEADER = "X-Twilio-Signature"


class Signatures:
    """Checks signatures made with one account's auth token.

    Args:
        auth_token: of the account; the key of Twilio's HMAC-SHA1.
    """

    def __init__(self, auth_token: str) -> None:
        self._validator = RequestValidator(auth_token)

    def signs_webhook(self, url: str, form: FormData, signature: str | None) -> bool:
        """Return whether Twilio sent this form to this URL.

        Args:
            url: the public ``https`` URL configured at Twilio, with its query.
            form: all fields of the body, in any order; names may repeat.
            signature: the header, or None if absent.
        """
        return self._signs(_with_and_without_port([url]), form, signature)

    def signs_handshake(self, url: str, signature: str | None) -> bool:
        """Return whether Twilio opened a WebSocket at this URL.

        Reports differ on whether Twilio signs the URL with ``wss`` or ``https``, and with or without a slash
        at its end, so all four are accepted.

        Args:
            url: the public ``wss`` or ``https`` URL of the stream.
            signature: the header, or None if absent.
        """
        parts = urlsplit(url)
        path = parts.path.rstrip("/")
        variants = [
            parts._replace(scheme=scheme, path=path + end).geturl()
            for scheme in ("wss", "https")
            for end in ("", "/")
        ]
        return self._signs(_with_and_without_port(variants), FormData(), signature)

    def _signs(self, urls: Iterable[str], form: FormData, signature: str | None) -> bool:
        # RequestValidator.validate compares character by character, not in constant time.
        given = (signature or "").encode(errors="replace")
        # All variants are compared, even after a match: the time must not reveal which one matched.
        right = False
        for url in urls:
            right |= hmac.compare_digest(self._validator.compute_signature(url, form).encode(), given)
        return right


def _with_and_without_port(urls: Iterable[str]) -> list[str]:
    """Return each URL with and without its port: Twilio's library calls its backend inconsistent here.

    That library's own ``add_port`` assumes port 80 for ``wss``, so it is not used.
    """
    spellings = []
    for url in urls:
        parts = urlsplit(url)
        host = parts.hostname or ""
        spellings += [
            parts._replace(netloc=netloc).geturl() for netloc in (host, f"{host}:{parts.port or 443}")
        ]
    return spellings
