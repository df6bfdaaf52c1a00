"""Calls that were routed to a worker and whose streams have not started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ROUTED_GRACE_SECS = 10.0
"""How long a draining worker waits for the stream of a call routed to it; Twilio takes about 1 s."""

_LOOK_SECS = 0.05


class RoutedCalls:
    """Keeps a draining worker alive until the calls that were routed to it have arrived.

    Used on the event loop.

    Args:
        clock: returns seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answering = 0  # calls whose TwiML is not sent yet, because the hook is called first
        self._routed_s: dict[str, float] = {}  # when TwiML sent a call here, by SID; recent ones only

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Count a call as expected while its webhook is answered."""
        self._answering += 1
        try:
            yield
        finally:
            self._answering -= 1

    def note(self, call_sid: str) -> None:
        """Record that TwiML directs the stream of a call here."""
        now_s = self._clock()
        self._routed_s = {
            sid: at_s for sid, at_s in self._routed_s.items() if now_s - at_s < ROUTED_GRACE_SECS
        }
        self._routed_s[call_sid] = now_s

    def is_waiting(self, has_come: Callable[[str], bool]) -> bool:
        """Return whether a stream may still come.

        Args:
            has_come: returns whether the stream of this SID has started.
        """
        now_s = self._clock()
        return self._answering > 0 or any(
            now_s - at_s < ROUTED_GRACE_SECS and not has_come(call_sid)
            for call_sid, at_s in self._routed_s.items()
        )

    async def wait(self, has_come: Callable[[str], bool]) -> None:
        """Wait until no stream may come any more; see ``is_waiting``."""
        while self.is_waiting(has_come):  # noqa: ASYNC110 - a call that does not come reports nothing
            await asyncio.sleep(_LOOK_SECS)
