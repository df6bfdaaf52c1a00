"""The calls of this process: which run, how they ended, and who was not let in."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from moshi_phone.engines.duplex import DuplexSession
from moshi_phone.records.call_metrics import CallMetrics, CallObservations
from moshi_phone.records.transcript_file import Heading, heading
from moshi_phone.runtime.call_log import short_sid
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.telephony.media_stream import Start

_OVER_KEPT = 32  # for who asks shortly after the end: the call's page, a rehearsal


HANDED_OVER = "the call was put through to a person"
"""Why a call ends whose phone call goes on elsewhere."""


class CallOver(Exception):
    """The call has ended; nothing can be done in it."""


@dataclass(eq=False)  # calls are kept in a set, and no two are the same
class Call:
    """One running call: its names, and the word that ends it.

    Attributes:
        start: Twilio's ``start`` message.
        began_s: when it came, on the monotonic clock.
        began: the same, by the calendar (UTC).
        observations: what its taps have seen.
        session: who talks with the caller; None before and after.
        expected: what was decided of it before its stream came.
        caller_hung_up: whether Twilio has said that the phone call is over.
        handed_over: whether the phone call goes on without us, or is about to.
    """

    start: Start
    began_s: float = field(default_factory=time.monotonic)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    observations: CallObservations = field(default_factory=CallObservations)
    session: DuplexSession | None = None
    caller_hung_up: bool = False
    handed_over: bool = False
    expected: PendingCall = field(default_factory=PendingCall)
    _over_s: float | None = None
    _ended: asyncio.Future[tuple[str, int]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def name(self) -> str:
        """The call's SID, shortened for the log."""
        return short_sid(self.start.call_sid)

    def end(self, reason: str, code: int = 1000) -> None:
        """Ask the call to end; the first reason counts.

        Args:
            reason: one sentence, which the log and the closed socket carry.
            code: what the socket is closed with (RFC 6455, section 7.4).
        """
        if not self.ending:
            self._ended.set_result((reason, code))

    def say(self, text: str) -> None:
        """Have these words said to the caller. Returns at once.

        Raises:
            CallOver: when the call is over.
            Unsupported: when the engine cannot.
            ValueError: when there is nothing in the text to say, or too much.
        """
        if self.session is None or self.ending:
            raise CallOver(f"The call {self.name} is over.")
        self.session.say(text)

    def left(self, reason: str) -> None:
        """Ask the call to end because its stream has, which is no news where it was handed over."""
        self.end(HANDED_OVER if self.handed_over else reason)

    async def ended(self) -> tuple[str, int]:
        """Wait for the call's end; gives its reason and code."""
        # Several wait for it: without the shield, one that gives up would cancel it for all.
        return await asyncio.shield(self._ended)

    @property
    def ending(self) -> bool:
        """Whether somebody has ended it; it may still hold something."""
        return self._ended.done()

    @property
    def file_name(self) -> str:
        """What its files are called: when it began (UTC), and its SID.

        Two streams that claim one SID in one second share a name; their files do not (``private_files``).
        """
        return f"{self.began:%Y-%m-%dT%H-%M-%SZ}-{self._plain_sid}"

    def heading(self, engine: str) -> Heading:
        """What the files of its transcript begin with, given the engine's name."""
        return heading(self.began, self._plain_sid, engine)

    @property
    def _plain_sid(self) -> str:
        """Its SID, as far as that is what a SID consists of: a stranger's may hold anything."""
        return "".join(c for c in self.start.call_sid if c.isascii() and c.isalnum())[:34]

    @property
    def over(self) -> bool:
        """Whether it has ended and holds nothing any more."""
        return self._over_s is not None

    @property
    def secs(self) -> float:
        """How long it has run, or ran."""
        return (time.monotonic() if self._over_s is None else self._over_s) - self.began_s

    def finish(self) -> None:
        """Stop its clock."""
        self.session = None
        self._over_s = time.monotonic()


@dataclass
class Calls:
    """All calls of this process.

    Attributes:
        running: those that have a session now.
        over: the last few that have ended.
        past: the metrics of all that have ended, added up.
        served: how many have ended.
        closing: why no new calls are taken, or None while they are.
    """

    running: set[Call] = field(default_factory=set[Call])
    past: CallMetrics = field(default_factory=CallMetrics)
    over: deque[Call] = field(default_factory=lambda: deque(maxlen=_OVER_KEPT))
    served: int = 0
    closing: str | None = None
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(
        self, start: Start, session: DuplexSession | None = None, expected: PendingCall | None = None
    ) -> Call:
        """Enter a call that is about to run.

        Args:
            start: the first message of its stream.
            session: who will talk with the caller.
            expected: what was decided of it before its stream came.
        """
        call = Call(start, session=session, expected=expected or PendingCall())
        self.running.add(call)
        self._idle.clear()
        return call

    def finish(self, call: Call) -> None:
        """Enter that it is over and holds nothing any more."""
        call.finish()
        # Both in one turn of the event loop: a scrape in between would count the call twice, or not at all.
        self.over.append(call)
        self.past.include(call.observations.metrics)
        self.running.discard(call)
        self.served += 1
        if not self.running:
            self._idle.set()

    def metrics(self) -> CallMetrics:
        """Add up all calls, those that run and those that have ended."""
        metrics = CallMetrics()
        for one in (self.past, *(call.observations.metrics for call in self.running)):
            metrics.include(one)
        return metrics

    def find(self, call_sid: str) -> Call | None:
        """Find a call that runs, or has not been over for long."""
        known = (
            *self.running,
            *reversed(self.over),
        )  # a stream that was broken off may come again by its SID
        return next((call for call in known if call.start.call_sid == call_sid), None)

    def end_all(self, reason: str) -> None:
        """Ask every call to end."""
        for call in self.running:
            call.end(reason)

    async def all_over(self) -> None:
        """Wait until no call runs."""
        while self.running:  # another call may begin between the last one's end and our turn
            await self._idle.wait()
