"""The calls of this process: running and recently ended ones."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from moshi_phone.engines.duplex import DuplexSession
from moshi_phone.records.call_metrics import CallMetrics
from moshi_phone.server.calls.call import Call, CallState
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.telephony.media_stream import Start

MAX_RECENT = 32  # ended calls that late requests can still find: the call's page, a rehearsal


@dataclass
class Calls:
    """All calls of this process.

    Attributes:
        running: calls with a session.
        recent: the last ended calls.
        past: summed metrics of all ended calls.
        served: number of ended calls.
        closing: why no new calls are accepted; None while they are.
    """

    running: set[Call] = field(default_factory=set[Call])
    past: CallMetrics = field(default_factory=CallMetrics)
    recent: deque[Call] = field(default_factory=lambda: deque(maxlen=MAX_RECENT))
    served: int = 0
    closing: str | None = None
    # waiters of begun(), by SID
    _awaited: dict[str, asyncio.Future[Call]] = field(default_factory=dict[str, "asyncio.Future[Call]"])
    _idle: asyncio.Event = field(default_factory=asyncio.Event)  # set while no call runs, once one has ended

    def begin(
        self, start: Start, session: DuplexSession | None = None, expected: PendingCall | None = None
    ) -> Call:
        """Add a call that is about to run.

        Args:
            start: the first message of its stream.
            session: the engine's session for it.
            expected: decisions made before the stream started.
        """
        call = Call(start, session=session, expected=expected or PendingCall())
        self.running.add(call)
        self._idle.clear()
        if awaited := self._awaited.pop(start.call_sid, None):  # a waiter of begun()
            awaited.set_result(call)
        return call

    def finish(self, call: Call) -> None:
        """Close a call and move it to the ended ones."""
        call.close()
        # No await in between: a scrape would count the call twice, or not at all.
        self.recent.append(call)
        self.past.include(call.observations.metrics)
        self.running.discard(call)
        self.served += 1
        if not self.running:
            self._idle.set()

    def count_frames(self) -> tuple[int, int]:
        """Return the number of frames of all calls, and of those that missed their deadline."""
        metrics = (self.past, *(call.observations.metrics for call in self.running))
        return sum(one.frames for one in metrics), sum(one.deadline_misses for one in metrics)

    def metrics(self) -> CallMetrics:
        """Return the summed metrics of all running and ended calls."""
        metrics = CallMetrics()
        for one in (self.past, *(call.observations.metrics for call in self.running)):
            metrics.include(one)
        return metrics

    def find(self, call_sid: str) -> Call | None:
        """Return a running or recently ended call."""
        # Newest first: a SID repeats when a call gets another stream.
        known = (*self.running, *reversed(self.recent))
        return next((call for call in known if call.start.call_sid == call_sid), None)

    def resumable(self, call_sid: str) -> Call | None:
        """Return the call that can continue with another stream of this phone call."""
        return next(
            (
                call
                for call in self.running
                if call.start.call_sid == call_sid
                and call.state is CallState.ACTIVE
                and call.take_over is not None
                and not call.handed_over
            ),
            None,
        )

    def replace_stream(self, call_sid: str) -> None:
        """End the streams of a phone call that a newer stream replaces. The phone call continues."""
        for call in self.running:
            if call.start.call_sid == call_sid and call.state is CallState.ACTIVE:
                call.handed_over = True  # so that ending it does not hang up the phone call
                call.request_end("a newer stream of the call took its place")

    def has_other(self, call: Call) -> bool:
        """Return whether another stream of the same phone call is active here."""
        return any(
            other is not call
            and other.start.call_sid == call.start.call_sid
            and other.state is CallState.ACTIVE
            for other in self.running
        )

    async def begun(self, call_sid: str) -> Call:
        """Wait until a call with this SID begins, and return it."""
        if call_sid not in self._awaited:
            self._awaited[call_sid] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._awaited[call_sid])

    def end_all(self, reason: str) -> None:
        """Ask all calls to end."""
        for call in self.running:
            call.request_end(reason)

    async def wait_until_idle(self) -> None:
        """Wait until no call runs."""
        while self.running:  # another call may begin before this task resumes
            await self._idle.wait()
