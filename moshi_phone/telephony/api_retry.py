"""Asks Twilio's API for something that must be so in the end, though the API cannot be reached now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from loguru import logger

from moshi_phone.runtime.retries import ExponentialBackoff
from moshi_phone.telephony.rest_errors import TwilioError

FIRST_SECS = 8.0
"""What a start waits for Twilio's API: it may be down for hours, while its webhooks come all the same."""

Ask = Callable[[], Awaitable[object]]
Sleep = Callable[[float], Awaitable[None]]


class ApiRetry:
    """Asks until it was answered, first in the foreground, then in the background.

    What is certainly wrong (credentials, a suspended account, a number of somebody else's) is raised while
    somebody waits, and logged afterwards; an API that cannot be asked now is a warning, and is asked again.

    Args:
        what: is to be done, for the log: "check the account".
        sleep: waits some seconds.
    """

    def __init__(self, what: str, sleep: Sleep = asyncio.sleep) -> None:
        self._what = what
        self._sleep = sleep
        # The request and its retries; the next request replaces it.
        self._asking: asyncio.Task[None] | None = None

    async def run(self, ask: Ask, *, first_secs: float = FIRST_SECS) -> bool:
        """Ask in place of what was asked before, and wait for the first answer, but not for long.

        Args:
            ask: asks Twilio's API.
            first_secs: how long it is waited for.

        Returns:
            Whether it is done; False where it goes on in the background.

        Raises:
            TwilioError: where the first answer says that it will never be done.
        """
        await self.stop()
        first: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asking = asyncio.create_task(self._ask(ask, first), name=f"{self._what} at Twilio")
        await asyncio.wait((first,), timeout=first_secs)
        if not first.done():
            self._put_off(first, f"it has not answered in {first_secs:g} s")
        return first.result()

    async def stop(self) -> None:
        """Ask no more. May be called twice."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.wait((asking,))

    async def _ask(self, ask: Ask, first: asyncio.Future[bool]) -> None:
        pauses = ExponentialBackoff()
        while True:
            try:
                await ask()
            except TwilioError as error:
                if not error.may_pass:
                    if first.done():
                        logger.error("Twilio's API answers again, and refuses to {}: {}", self._what, error)
                    else:
                        first.set_exception(error)
                    return
                self._put_off(first, str(error))
                await self._sleep(pauses.next_secs())
            except Exception as error:  # a bug of ours: whoever waits for the first answer must hear of it
                if first.done():
                    raise
                first.set_exception(error)
                return
            else:
                if first.done():
                    logger.info("Twilio's API answers again; done: {}", self._what)
                else:
                    first.set_result(True)
                return

    def _put_off(self, first: asyncio.Future[bool], why: str) -> None:
        if not first.done():
            logger.warning("Cannot {} now: {}. Retrying; calls are answered meanwhile", self._what, why)
            first.set_result(False)
