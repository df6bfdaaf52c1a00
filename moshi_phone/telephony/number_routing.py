"""Routes a phone number of the account to this server, and restores its routing."""

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
    """Routes one number to our webhook while this process runs.

    The previous routing is saved on disk before it is changed. If a run ends without restoring it (SIGKILL,
    power failure, unreachable API), the next run takes the number over, and restores the original routing at
    its end.

    Attributes:
        number: E.164.

    Args:
        api: of the number's account.
        number: E.164.
        say: receives lines for the user.
        notes: the store of previous routings.
    """

    def __init__(self, api: TwilioApi, number: str, say: Say, notes: SavedNumbers | None = None) -> None:
        self._api = api
        self.number = number
        self._say = say
        # On disk, so that it survives a killed process.
        self._notes = notes or SavedNumbers()
        # The routing before ours; None until the number was found.
        self._borrowed: SavedNumber | None = None
        # Held until restore(): shows other processes that this one is alive.
        self._lock: FileLock | None = None
        # The request in progress; the restoring request must come after it.
        self._setting: asyncio.Future[None] | None = None
        self._is_back = False  # or being restored: a late URL of the tunnel must not change it
        self._finding = asyncio.Lock()  # one look-up at a time
        self._pointing = ApiRetry(f"make {redact(number)} ring here")

    @property
    def rings_here(self) -> bool:
        """Whether the number's routing was changed, or may have been, and is not restored."""
        return self._borrowed is not None and bool(self._borrowed.ours)

    async def find(self) -> None:
        """Check that the number can be routed here, and read its routing. Changes nothing.

        Raises:
            TwilioError: if the account has no such number, or another run of this program routes it.
        """
        async with self._finding:  # two look-ups at once would find the number held by ourselves
            if self._borrowed is None:
                self._borrowed = await self._borrow()

    async def keep_pointing(self, twiml_url: str) -> None:
        """Call ``point``; while Twilio's API is unreachable, retry in the background.

        Raises:
            TwilioError: if it can never succeed.
        """
        if not self._is_back:
            await self._pointing.run(lambda: self.point(twiml_url))

    async def point(self, twiml_url: str) -> None:
        """Set the number's webhook to this URL, until it is restored. The first call saves the old routing.

        Raises:
            TwilioError: if the account has no such number, or it cannot be changed.
        """
        if self._is_back:
            return
        await self.find()
        borrowed, wanted = self._borrowed, VoiceSettings(twiml_url)
        assert borrowed is not None  # noqa: S101 - set by find()
        if wanted == borrowed.before:
            self._say(f"{borrowed.label} rings here already.")
            return
        if self._setting is not None:  # for an earlier URL: it must not take effect after ours
            await asyncio.wait((self._setting,))
        # Saved first, and shielded: whatever happens to this task, the change can be undone.
        if wanted not in borrowed.ours:
            self._borrowed = replace(borrowed, ours=(*borrowed.ours, wanted))
        self._setting = asyncio.ensure_future(self._set(self._borrowed or borrowed, wanted))
        await asyncio.shield(self._setting)
        self._say(f"{borrowed.label} rings here now; before, it went to {borrowed.before.where}.")

    async def restore(self) -> None:
        """Undo ``point``, unless somebody else has changed the number since. Tries once.

        Raises:
            TwilioError: if it fails; the text names the setting to restore by hand.
        """
        if self._is_back:
            return
        self._is_back = True  # at once: a reconnecting tunnel must not route the number again
        await self._pointing.stop()
        borrowed = self._borrowed
        try:
            if borrowed is not None and borrowed.ours:
                if self._setting is not None:  # or it could take effect after ours
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
        # Read before the lock is acquired: it names the holder's process.
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
        if left is not None and found.voice in left.ours:  # still as the earlier run left it
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
    """Restore numbers that earlier runs left ringing here, except those of running processes.

    Args:
        api: of the account whose numbers are checked.
        say: receives lines for the user.
        notes: the store of previous routings.
    """
    notes = notes or SavedNumbers()
    for left in await asyncio.to_thread(notes.of_account, api.account_sid):
        try:
            lock = await asyncio.to_thread(notes.hold, left.sid)
        except (NumberHeld, OSError):
            continue  # a running process holds it, or no lock is possible
        try:
            await _put_back(left, api, say)
            await asyncio.to_thread(notes.forget, left.sid)
        except TwilioError as error:
            say(str(error))
        finally:
            lock.release()


async def _put_back(borrowed: SavedNumber, api: TwilioApi, say: Say) -> None:
    """Restore a number's routing, if it is still one that we set.

    Raises:
        TwilioError: if it fails; the text names the setting to restore by hand.
    """
    label, before = borrowed.label, borrowed.before
    try:
        now = (await api.fetch_number(borrowed.sid)).voice
        if now == before:  # restored already, by hand or by another run
            return
        # All of our settings, not only the last: a request that seemed to fail may have succeeded.
        if now not in borrowed.ours:
            say(f"{label} was changed by somebody else, and stays as it is.")
            return
        await api.set_voice(borrowed.sid, before)
    except TwilioError as error:
        raise TwilioError(
            f"{label} still rings here; the next start restores it, or set it to {before.where} by hand "
            f"({error})"
        ) from error
    say(f"{label} goes to {before.where} again.")
