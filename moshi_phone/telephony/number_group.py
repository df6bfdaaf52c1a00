"""Several numbers of the account, routed and restored together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import suppress

from moshi_phone.telephony.number_routing import Say, VoiceWebhookOverride
from moshi_phone.telephony.rest import NumberNotOwned, TwilioApi
from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.telephony.saved_numbers import SavedNumbers


class NumberGroup:
    """Like ``VoiceWebhookOverride``, for several numbers.

    Args:
        api: of the numbers' account.
        numbers: E.164; the account must own all of them.
        also: E.164; those that the account owns are routed as well, such as numbers in ``personas.toml``,
            which also contains callers' numbers.
        say: receives lines for the user.
        notes: the store of previous routings.

    Attributes:
        number: the first number, used where a single one is needed.
    """

    def __init__(
        self,
        api: TwilioApi,
        numbers: Iterable[str],
        also: Iterable[str],
        say: Say,
        notes: SavedNumbers | None = None,
    ) -> None:
        named = list(dict.fromkeys(numbers))  # without duplicates, in order
        self.number = named[0]
        self._members = {number: VoiceWebhookOverride(api, number, say, notes) for number in named}
        self._maybe = {  # the numbers of `also` whose owner is still unknown
            number: VoiceWebhookOverride(api, number, say, notes)
            for number in dict.fromkeys(also)
            if number not in self._members
        }

    @property
    def rings_here(self) -> bool:
        """Whether a number's routing was changed, or may have been, and is not restored."""
        return any(each.rings_here for each in self._members.values())

    async def find(self) -> None:
        """Check that all numbers can be routed here. Changes nothing.

        Raises:
            TwilioError: for the first that cannot.
        """
        for member in self._members.values():
            await member.find()
        for number in list(self._maybe):
            member = self._maybe[number]
            with suppress(NumberNotOwned):  # a caller's number
                await member.find()
                self._members[number] = member
            del self._maybe[number]  # decided; not looked up again

    async def keep_pointing(self, twiml_url: str) -> None:
        """Route all numbers; see ``VoiceWebhookOverride.keep_pointing``.

        Raises:
            TwilioError: for the numbers that can never be routed; the others are.
        """
        await _all(member.keep_pointing(twiml_url) for member in self._members.values())
        for member in self._maybe.values():  # Twilio's API was unreachable at the start
            with suppress(NumberNotOwned):
                await member.keep_pointing(twiml_url)

    async def restore(self) -> None:
        """Restore all numbers.

        Raises:
            TwilioError: names each number that could not be restored.
        """
        members = (*self._members.values(), *self._maybe.values())
        await _all(member.restore() for member in members)


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Run all, whatever fails, then raise the errors."""
    done = await asyncio.gather(*work, return_exceptions=True)
    errors = [one for one in done if isinstance(one, BaseException)]
    for error in errors:
        if not isinstance(error, TwilioError):
            raise error
    if errors:
        raise TwilioError("; ".join(str(error) for error in errors))
