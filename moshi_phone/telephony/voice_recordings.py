"""Recordings at Twilio: downloaded once with the account's credentials, then deleted there."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp

from moshi_phone.telephony.options import TwilioOptions
from moshi_phone.telephony.rest_errors import TwilioError

MAX_BYTES = 20_000_000  # twice the size of ten minutes of Twilio's WAV
FETCH_SECS = 60.0
_SID = re.compile(r"RE[0-9a-fA-F]{32}")


def is_recording_sid(text: str) -> bool:
    """Return whether this is a valid SID of a recording."""
    return _SID.fullmatch(text) is not None


@dataclass(frozen=True)
class VoiceRecordings:
    """The account's recordings.

    Attributes:
        account_sid: ``AC…``.
        auth_token: of the account.
        api_url: base URL of Twilio's REST API.
    """

    account_sid: str
    auth_token: str = field(repr=False)
    api_url: str

    @classmethod
    def of_account(cls, options: TwilioOptions) -> VoiceRecordings | None:
        """Create it; None without credentials."""
        sid, token = options.account_sid, options.auth_token
        return cls(sid, token, options.twilio_api_url.rstrip("/")) if sid and token else None

    async def fetch(self, recording_sid: str) -> bytes:
        """Download a recording as a WAV file.

        Raises:
            TwilioError: if that fails, or it is not available yet (``may_pass``).
        """
        async with self._http() as http, http.get(self._url(recording_sid, ".wav")) as answer:
            self._check(answer)
            wav = bytearray()
            async for chunk in answer.content.iter_any():
                wav += chunk
                if len(wav) > MAX_BYTES:  # while downloading: Content-Length is not trusted
                    raise TwilioError(f"a recording has more than {MAX_BYTES:,} bytes")
            return bytes(wav)

    async def delete(self, recording_sid: str) -> None:
        """Delete a recording at Twilio.

        Raises:
            TwilioError: if that fails.
        """
        async with self._http() as http, http.delete(self._url(recording_sid, ".json")) as answer:
            if answer.status != HTTPStatus.NOT_FOUND:  # deleted already
                self._check(answer)

    def _http(self) -> aiohttp.ClientSession:
        login = base64.b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        timeout = aiohttp.ClientTimeout(total=FETCH_SECS)
        # On a redirect to another host, whose URL contains a key, aiohttp drops this header.
        return aiohttp.ClientSession(
            timeout=timeout, trust_env=True, headers={"Authorization": f"Basic {login}"}
        )

    def _url(self, recording_sid: str, suffix: str) -> str:
        # Built from the SID, not taken from the webhook: the credentials must go to Twilio only.
        return f"{self.api_url}/2010-04-01/Accounts/{self.account_sid}/Recordings/{recording_sid}{suffix}"

    @staticmethod
    def _check(answer: aiohttp.ClientResponse) -> None:
        if answer.status >= HTTPStatus.BAD_REQUEST:
            # 404: Twilio announces a recording shortly before it is available.
            is_late = answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS)
            raise TwilioError(
                f"Twilio's API answers HTTP {answer.status} for a recording",
                may_pass=is_late or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR,
            )
