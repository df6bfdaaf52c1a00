"""Recognises devices that have sent the password once, by a cookie that grants no access by itself."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from fastapi import Response
from starlette.requests import HTTPConnection

COOKIE = "moshi_device"
_KEPT_SECS = 30 * 24 * 3600
_ID_BYTES = 12


class KnownDevices:
    """Issues and verifies the cookies of this process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(
            32
        )  # of this process: after a restart every device shows the password

    def issue_cookie(self, response: Response, *, secure: bool = False) -> None:
        """Issue a cookie that identifies the device.

        Args:
            response: to the device.
            secure: whether the request came by https; the cookie is then sent by https only.
        """
        device = secrets.token_hex(_ID_BYTES)
        response.set_cookie(
            COOKIE,
            f"{device}.{self._mac(device)}",
            max_age=_KEPT_SECS,
            httponly=True,
            samesite="strict",
            secure=secure,
        )

    def identify(self, request: HTTPConnection) -> str | None:
        """Return the name of a request's device; None if it has never sent the password."""
        device, _, mac = request.cookies.get(COOKIE, "").partition(".")
        # In constant time, and as bytes: compare_digest rejects non-ASCII text.
        right = hmac.compare_digest(self._mac(device).encode(), mac.encode(errors="replace"))
        return f"device {device}" if right else None

    def _mac(self, device: str) -> str:
        return hmac.digest(self._key, device.encode(errors="replace"), hashlib.sha256).hex()
