"""Devices that have sent the password once: recognised by a cookie, which by itself grants no access."""

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
    """Makes and recognises the cookies of this process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(
            32
        )  # of this process: after a restart every device shows the password

    def issue_cookie(self, response: Response, *, secure: bool = False) -> None:
        """Name the device that gets this response, in a cookie.

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
        """Name the device that a request comes from; None for one that has never sent the password."""
        device, _, mac = request.cookies.get(COOKIE, "").partition(".")
        # In constant time, and as bytes: compare_digest refuses text that is not ASCII.
        right = hmac.compare_digest(self._mac(device).encode(), mac.encode(errors="replace"))
        return f"device {device}" if right else None

    def _mac(self, device: str) -> str:
        return hmac.digest(self._key, device.encode(errors="replace"), hashlib.sha256).hex()
