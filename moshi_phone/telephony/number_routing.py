"""Makes a phone number of the account ring here, and puts it back as it was."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace

from filelock import FileLock

from moshi_phone.access.redact import redact
from moshi_phone.telephony.api_retry import ApiRetry
from moshi_phone.telephony.rest import TwilioApi, VoiceSettings
from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.telephony.saved_numbers import NumberHeld, SavedNumber, SavedNumbers

Say = Callable[[str], None]


class VoiceWebhookOverride:
    """Points one number at our webhook for as long as this process runs.

    What the number did before is noted on disk before it is changed. A run that ended without putting it
    back (SIGKILL, no power, Twilio's API out of reach) is followed by one that takes the number over, and
    at its end puts back what was there before both.

    Attributes:
        number: E.164.

    Args:
        api: of the account that has the number.
        number: E.164.
        say: takes one line for a person to read.
        notes: where numbers are noted.
    """

    def __init__(self, api: TwilioApi, number: str, say: Say, notes: SavedNumbers | None = None) -> None:
        self._api = api
        self.number = number
        self._say = say
        # On disk: a process that was killed leaves the old routing there.
        self._notes = notes or SavedNumbers()
        # The routing before ours, or None while the number is not ours.
        self._borrowed: SavedNumber | None = None
        # Held while the number is ours: tells another process that we live.
        self._lock: FileLock | None = None
        # The request under way, which must not overtake the restoring.
        self._setting: asyncio.Future[None] | None = None
        self._is_back = False  # restored, or about to be: a late URL of the tunnel must not change it again
        self._finding = asyncio.Lock()  # one look-up of the number, whoever comes first
        self._pointing = ApiRetry(f"make {redact(number)} ring here")

    @property
    def rings_here(self) -> bool:
        """Whether the number was changed, or may have been, and not put back yet."""
        return self._borrowed is not None and bool(self._borrowed.ours)

    async def find(self) -> None:
        """Make sure that the number can be made to ring here, and remember what it does; changes nothing.

        Raises:
            TwilioError: when the account has no such number, or another run of this program points it.
        """
        async with self._finding:  # asked for twice at once, it would be held by ourselves
            if self._borrowed is None:
                self._borrowed = await self._borrow()

    async def keep_pointing(self, twiml_url: str) -> None:
        """Do ``point``; while Twilio's API cannot be asked, go on trying in the background.

        Raises:
            TwilioError: when it will never be done.
        """
        if not self._is_back:
            await self._pointing.run(lambda: self.point(twiml_url))

    async def point(self, twiml_url: str) -> None:
        """Make the number ask this URL, until it was put back. The first time, note what it did before.

        Raises:
            TwilioError: when the account has no such number, or it cannot be changed.
        """
        if self._is_back:
            return
        await self.find()
        borrowed, wanted = self._borrowed, VoiceSettings(twiml_url)
        assert borrowed is not None  # noqa: S101 - it was found
        if wanted == borrowed.before:
            self._say(f"{borrowed.label} rings here already.")
            return
        if self._setting is not None:  # of an earlier URL: its answer must not come after ours
            await asyncio.wait((self._setting,))
        # Noted first, and shielded: whatever becomes of us now, there is something to undo.
        if wanted not in borrowed.ours:
            self._borrowed = replace(borrowed, ours=(*borrowed.ours, wanted))
        self._setting = asyncio.ensure_future(self._set(self._borrowed or borrowed, wanted))
        await asyncio.shield(self._setting)
        self._say(f"{borrowed.label} rings here now; before, it went to {borrowed.before.where}.")

    async def restore(self) -> None:
        """Undo what ``point`` has done, unless somebody has changed the number in the meantime. Tries once.

        Raises:
            TwilioError: when it could not be done; the text says what to set by hand.
        """
        if self._is_back:
            return
        self._is_back = True  # at once: a tunnel that comes back meanwhile must not point the number again
        await self._pointing.stop()
        borrowed = self._borrowed
        try:
            if borrowed is not None and borrowed.ours:
                if self._setting is not None:  # or its answer could come after ours, and undo it
                    await asyncio.wait((self._setting,))
                await _put_back(borrowed, self._api, self._say)
                self._borrowed = None
                await asyncio.to_thread(self._notes.forget, borrowed.sid)
        finally:
            if self._lock is not None:
                self._lock.release()

    async def _borrow(self) -> SavedNumber:
        found = await self._api.find_number(self.number)
        label = redact(self.number)
        if found.trunk_sid:
            raise TwilioError(
                f"{label} belongs to a SIP trunk, which takes all its calls: take it out of the trunk at "
                "https://console.twilio.com"
            )
        # Read before the lock is taken: it names the process that has it.
        left = await asyncio.to_thread(self._notes.read, found.sid)
        try:
            self._lock = await asyncio.to_thread(self._notes.hold, found.sid)
        except NumberHeld as error:
            process = f"process {left.pid}" if left else "another process"
            raise TwilioError(
                f"{label} rings at another run of this program on this machine ({process}): stop that one, "
                "or leave out --number"
            ) from error
        except OSError as error:
            self._say(f"There is no place for notes ({error}): should this crash, put {label} back by hand.")
        if left is not None and found.voice in left.ours:
            self._say(f"{label} was not put back by an earlier run; this one will.")
            return replace(left, pid=os.getpid())
        return SavedNumber(self._api.account_sid, found.sid, label, found.voice, pid=os.getpid())

    async def _set(self, borrowed: SavedNumber, wanted: VoiceSettings) -> None:
        try:
            await asyncio.to_thread(self._notes.write, borrowed)
        except OSError as error:
            where = borrowed.before.where
            self._say(f"{borrowed.label} goes to {where}, which cannot be noted ({error.strerror}).")
        await self._api.set_voice(borrowed.sid, wanted)


async def put_back_left_numbers(api: TwilioApi, say: Say, notes: SavedNumbers | None = None) -> None:
    """Put back what earlier runs left ringing here, but for the numbers that a running process points.

    Args:
        api: of the account whose numbers are looked at.
        say: takes one line for a person to read.
        notes: where numbers are noted.
    """
    notes = notes or SavedNumbers()
    for left in await asyncio.to_thread(notes.of_account, api.account_sid):
        try:
            lock = await asyncio.to_thread(notes.hold, left.sid)
        except (NumberHeld, OSError):
            continue
        try:
            await _put_back(left, api, say)
            await asyncio.to_thread(notes.forget, left.sid)
        except TwilioError as error:
            say(str(error))
        finally:
            lock.release()


async def _put_back(borrowed: SavedNumber, api: TwilioApi, say: Say) -> None:
    """Make a number do what it did before us, if it still does what we told it.

    Raises:
        TwilioError: when it could not be done; the text says what to set by hand.
    """
    label, before = borrowed.label, borrowed.before
    try:
        now = (await api.fetch_number(borrowed.sid)).voice
        if now == before:
            return
        # All that we set, not only the last: a request that seemed to fail may have been done.
        if now not in borrowed.ours:
            say(f"{label} was changed by somebody else, and stays as it is.")
            return
        await api.set_voice(borrowed.sid, before)
    except TwilioError as error:
        raise TwilioError(
            f"{label} still rings here; the next start puts it back, or set it to {before.where} by hand "
            f"({error})"
        ) from error
    say(f"{label} goes to {before.where} again.")
