"""Retries a request to Twilio's API that must succeed in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from loguru import logger

from moshi_phone.runtime.retries import ExponentialBackoff, Sleep
from moshi_phone.telephony.rest_errors import TwilioError

FIRST_SECS = 8.0
"""How long a start waits for Twilio's API, which may be down for hours while its webhooks still come."""

Ask = Callable[[], Awaitable[object]]


class ApiRetry:
    """Repeats a request until it succeeds, first in the foreground, then in the background.

    Permanent errors (credentials, a suspended account, a number of another account) are raised in the
    foreground and logged in the background. An unreachable API is logged as a warning, and the request is
    repeated.

    Args:
        what: the task, for the log: "check the account".
        sleep: waits for some seconds.
    """

    def __init__(self, what: str, sleep: Sleep = asyncio.sleep) -> None:
        self._what = what
        self._sleep = sleep
        # The request with its retries; run() replaces it.
        self._asking: asyncio.Task[None] | None = None

    async def run(self, ask: Ask, *, first_secs: float = FIRST_SECS) -> bool:
        """Start a request, in place of the previous one, and wait briefly for its first result.

        Args:
            ask: sends the request to Twilio's API.
            first_secs: how long to wait for the result.

        Returns:
            True if it succeeded; False if it continues in the background.

        Raises:
            TwilioError: if the first result is a permanent error.
        """
        await self.stop()  # the previous request is obsolete
        first: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asking = asyncio.create_task(self._ask(ask, first), name=f"{self._what} at Twilio")
        await asyncio.wait((first,), timeout=first_secs)
        if not first.done():
            self._put_off(first, f"it has not answered in {first_secs:g} s")
        return first.result()

    async def stop(self) -> None:
        """Stop retrying. May be called twice."""
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
                self._put_off(first, str(error))  # returns False to the waiter, once
                await self._sleep(pauses.next_secs())
            except Exception as error:  # a bug of ours: raised to the waiter of the first result
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
