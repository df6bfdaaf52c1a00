"""Makes a phone number of the account ring here, and puts it back as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from access.redact import redact
from telephony.rest import OwnedNumber, TwilioApi, VoiceSettings
from telephony.rest_errors import TwilioError

Say = Callable[[str], None]


class NumberPointer:
    """Points one number at our webhook for as long as this process runs.

    Args:
        api: of the account that has the number.
        number: E.164.
        say: takes one line for a person to read.
    """

    def __init__(self, api: TwilioApi, number: str, say: Say) -> None:
        self._api = api
        self._number = number
        self._say = say
        self._before: OwnedNumber | None = None
        self._ours: list[VoiceSettings] = []  # what we set, or tried to
        self._setting: asyncio.Future[None] | None = None
        self._is_back = False

    async def point(self, twiml_url: str) -> None:
        """Make the number ask this URL, until it was put back. The first time, remember what it did before.

        Raises:
            TwilioError: when the account has no such number, or it cannot be changed.
        """
        if self._is_back:
            return
        name = redact(self._number)
        if self._before is None:
            found = await self._api.find_number(self._number)
            if found.trunk_sid:
                raise TwilioError(
                    f"{name} belongs to a SIP trunk, which takes all its calls: take it out of the trunk at "
                    "https://console.twilio.com"
                )
            self._before = found
        wanted = VoiceSettings(twiml_url)
        if wanted == self._before.voice:
            self._say(f"{name} rings here already.")
            return
        # Noted first, and shielded: whatever becomes of us now, there is something to undo.
        self._ours.append(wanted)
        self._setting = asyncio.ensure_future(self._api.set_voice(self._before.sid, wanted))
        await asyncio.shield(self._setting)
        self._say(f"{name} rings here now; before, it went to {_where(self._before.voice)}.")

    async def put_back(self) -> None:
        """Undo what ``point`` has done, unless somebody has changed the number in the meantime.

        Raises:
            TwilioError: when it could not be done; the text says what to set by hand.
        """
        self._is_back = True
        if self._before is None or self._setting is None:
            return
        name, before, setting, self._setting = redact(self._number), self._before, self._setting, None
        await asyncio.wait((setting,))
        try:
            now = (await self._api.fetch_number(before.sid)).voice
            if now == before.voice:
                return
            if now not in self._ours:
                self._say(f"{name} was changed by somebody else, and stays as it is.")
                return
            await self._api.set_voice(before.sid, before.voice)
        except TwilioError as error:
            raise TwilioError(
                f"{name} still rings here; set it back to {_where(before.voice)} by hand ({error})"
            ) from error
        self._say(f"{name} goes to {_where(before.voice)} again.")


def _where(voice: VoiceSettings) -> str:
    return voice.application_sid or voice.url or "nowhere"
