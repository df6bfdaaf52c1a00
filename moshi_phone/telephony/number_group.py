"""Several numbers of the account that ring here together, and are put back together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import suppress

from moshi_phone.telephony.number_routing import Say, VoiceWebhookOverride
from moshi_phone.telephony.rest import NumberNotOwned, TwilioApi
from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.telephony.saved_numbers import SavedNumbers


class NumberGroup:
    """Does with several numbers what ``VoiceWebhookOverride`` does with one.

    Args:
        api: of the account that has the numbers.
        numbers: E.164; the account must have each.
        also: E.164; those that the account has ring here too, such as the numbers of ``personas.toml``, among
            which are callers'.
        say: takes one line for a person to read.
        notes: where numbers are noted.

    Attributes:
        number: the first of them, which stands for the line where one number has to.
    """

    def __init__(
        self,
        api: TwilioApi,
        numbers: Iterable[str],
        also: Iterable[str],
        say: Say,
        notes: SavedNumbers | None = None,
    ) -> None:
        named = list(dict.fromkeys(numbers))
        self.number = named[0]
        self._members = {number: VoiceWebhookOverride(api, number, say, notes) for number in named}
        self._maybe = {
            number: VoiceWebhookOverride(api, number, say, notes)
            for number in dict.fromkeys(also)
            if number not in self._members
        }

    @property
    def rings_here(self) -> bool:
        """Whether one of them was changed, or may have been, and not put back yet."""
        return any(each.rings_here for each in self._members.values())

    async def find(self) -> None:
        """Make sure that all of them can be made to ring here; changes nothing.

        Raises:
            TwilioError: of the first that cannot.
        """
        for member in self._members.values():
            await member.find()
        for number in list(self._maybe):
            member = self._maybe[number]
            with suppress(NumberNotOwned):  # a caller's
                await member.find()
                self._members[number] = member
            del self._maybe[number]

    async def keep_pointing(self, twiml_url: str) -> None:
        """Point all of them; see ``VoiceWebhookOverride.keep_pointing``.

        Raises:
            TwilioError: of the first that will never ring here; the others do.
        """
        await _all(member.keep_pointing(twiml_url) for member in self._members.values())
        for member in self._maybe.values():  # Twilio's API could not be asked at the start
            with suppress(NumberNotOwned):
                await member.keep_pointing(twiml_url)

    async def restore(self) -> None:
        """Put all of them back.

        Raises:
            TwilioError: that names each which could not be.
        """
        members = (*self._members.values(), *self._maybe.values())
        await _all(member.restore() for member in members)


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Do all of it, whatever goes wrong with some, and then raise what went wrong."""
    done = await asyncio.gather(*work, return_exceptions=True)
    errors = [one for one in done if isinstance(one, BaseException)]
    for error in errors:
        if not isinstance(error, TwilioError):
            raise error
    if errors:
        raise TwilioError("; ".join(str(error) for error in errors))
