"""Twilio's REST API: the account, calls and phone numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from moshi_phone.runtime.retries import Sleep
from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.telephony.rest_requests import API_URL, Requests, make_client

MachineDetection = Literal["Enable", "DetectMessageEnd"]
"""Twilio's names: report who answered at once, or for a machine only after its greeting."""

TRIAL = "Trial"
TRIAL_LIMITS = "a trial account: Twilio blocks <Stream> and <Dial> there, so no call would be connected"
TRIAL_REMEDY = (
    "upgrade it at https://console.twilio.com; until then talk in the browser, or use another carrier "
    "(docs/pipecat.md)"
)
_MAX_NUMBERS = 1000  # per page of a list; Twilio's maximum
_NOT_FOUND = 20404  # for a call: it has ended


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """State of a call at Twilio.

    Attributes:
        sid: of the call.
        status: ``queued``, ``ringing``, ``in-progress``, ``completed``, ``busy``, ``no-answer``, ``failed``
            or ``canceled``.
        duration_secs: connected time, once it has ended.
    """

    sid: str
    status: str
    duration_secs: int | None = None


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """A number's settings for incoming calls.

    Attributes:
        url: where Twilio requests TwiML; empty for none.
        method: HTTP method of that request.
        application_sid: a TwiML application, which overrides both; empty for none.
    """

    url: str
    method: str = "POST"
    application_sid: str = ""

    @property
    def where(self) -> str:
        """Destination of calls, for messages."""
        return self.application_sid or self.url or "nowhere"


@dataclass(frozen=True, slots=True)
class OwnedNumber:
    """A phone number of the account."""

    sid: str
    number: str
    voice: VoiceSettings
    trunk_sid: str = ""


class NumberNotOwned(TwilioError):
    """The account has no such number."""


class TwilioApi:
    """Our requests, with errors that name a remedy.

    Args:
        account_sid: ``AC…``.
        auth_token: of the account.
        api_url: base URL of requests; another one than Twilio's is for proxies and tests.
        sleep: waits for some seconds between attempts.
    """

    def __init__(
        self, account_sid: str, auth_token: str, api_url: str = API_URL, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.account_sid = account_sid
        self._client = make_client(account_sid, auth_token, api_url)
        self._requests = Requests(sleep)  # retries; runs the client, which blocks, in threads
        self._ask = self._requests.ask

    async def check_account(self) -> str:
        """Fetch the account, which changes nothing; return its type, ``Full`` or ``TRIAL``.

        Raises:
            TwilioError: also if the account is suspended or closed.
        """
        account = await self._ask(lambda: self._client.api.accounts(self._client.account_sid).fetch())
        if account.status != "active":
            raise TwilioError(f"the Twilio account is {account.status}: see https://console.twilio.com")
        return str(account.type)

    async def place_call(
        self,
        *,
        to: str,
        from_: str,
        twiml: str,
        ring_secs: int,
        limit_secs: int,
        status_url: str | None = None,
        machine_detection: MachineDetection | None = None,
    ) -> PlacedCall:
        """Place a call, which runs this TwiML when it is answered.

        Args:
            to: E.164.
            from_: E.164; a number of the account, or a verified caller ID.
            twiml: at most 4,000 characters.
            ring_secs: how long it may ring.
            limit_secs: maximum duration.
            status_url: where Twilio reports each change of the status.
            machine_detection: report to that URL, as ``AnsweredBy``, whether a person or a machine answered:
                at once (``Enable``), or for a machine after its greeting (``DetectMessageEnd``). Detection
                runs alongside the call, so a person never waits for it.

        Raises:
            TwilioError: if no call was placed.
        """
        callback: dict[str, Any] = (
            {
                "status_callback": status_url,
                "status_callback_event": ["initiated", "ringing", "answered", "completed"],
            }
            if status_url
            else {}
        )
        if machine_detection:
            callback |= {
                "machine_detection": machine_detection,
                "async_amd": "true",
                "async_amd_status_callback": status_url,
            }
        return _call(
            await self._ask(
                lambda: self._client.calls.create(
                    to=to, from_=from_, twiml=twiml, timeout=ring_secs, time_limit=limit_secs, **callback
                ),
                again_after_server_error=False,  # the call may have been placed; do not place it twice
            )
        )

    async def fetch_call(self, sid: str) -> PlacedCall:
        """Fetch the state of a call."""
        return _call(await self._ask(lambda: self._client.calls(sid).fetch()))

    async def hang_up(self, sid: str) -> None:
        """End a call in any state. An ended call is no error."""
        try:
            await self._ask(lambda: self._client.calls(sid).update(status="completed"))
        except TwilioError as error:
            if error.code != _NOT_FOUND:  # it has ended: the desired state
                raise

    async def redirect(self, sid: str, twiml: str, is_here: Callable[[], bool] | None = None) -> None:
        """Make a running call execute this TwiML, which ends its stream.

        A request that failed inside Twilio, or whose answer was late, may have taken effect. Repeating it
        would interrupt what the call does by then. Only a continuing stream proves that it has not taken
        effect.

        Args:
            sid: of the call.
            twiml: to execute.
            is_here: returns whether the call's stream continues; without it, only requests that Twilio did
                not process (429) are repeated.

        Raises:
            TwilioError: if it fails, or the call has ended.
        """
        await self._ask(
            lambda: self._client.calls(sid).update(twiml=twiml),
            again_after_server_error=is_here is not None,
            is_wanted=is_here or (lambda: True),
        )

    async def find_number(self, number: str) -> OwnedNumber:
        """Find one of the account's numbers.

        Args:
            number: E.164.

        Raises:
            TwilioError: also if the account has no such number.
        """
        found = await self._ask(
            lambda: self._client.incoming_phone_numbers.list(phone_number=number, page_size=_MAX_NUMBERS)
        )
        # Twilio's filter also matches parts of numbers (+4930123456 in +493012345678), and * as a wildcard.
        # An exact match is required: the number's routing will be changed.
        ours = next((one for one in found if one.phone_number == number), None)
        if ours is None:
            raise NumberNotOwned(
                f"the Twilio account has no number that ends in {number[-3:]}: check TWILIO_NUMBER or "
                "--number, or buy one at https://console.twilio.com"
            )
        return _number(ours)

    async def fetch_number(self, sid: str) -> OwnedNumber:
        """Fetch the current settings of one of the account's numbers."""
        return _number(await self._ask(lambda: self._client.incoming_phone_numbers(sid).fetch()))

    async def set_voice(self, sid: str, voice: VoiceSettings) -> None:
        """Change the call settings of one of the account's numbers."""
        await self._ask(
            lambda: self._client.incoming_phone_numbers(sid).update(
                voice_url=voice.url,
                voice_method=voice.method,
                voice_application_sid=voice.application_sid,
            )
        )


def _call(instance: Any) -> PlacedCall:
    duration = instance.duration
    return PlacedCall(str(instance.sid), str(instance.status), int(duration) if duration else None)


def _number(instance: Any) -> OwnedNumber:
    voice = VoiceSettings(
        instance.voice_url or "", instance.voice_method or "POST", instance.voice_application_sid or ""
    )
    return OwnedNumber(instance.sid, instance.phone_number, voice, instance.trunk_sid or "")
