"""The calls of this process: which run, how they ended, and who was not let in."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

from fastapi import WebSocket
from loguru import logger

from moshi_phone.access.redact import visible
from moshi_phone.engines.duplex import DuplexSession, Unsupported
from moshi_phone.records.call_metrics import CallMetrics, CallObservations
from moshi_phone.records.transcript_file import Heading, heading
from moshi_phone.runtime.call_log import short_sid
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.telephony.media_stream import Start

_OVER_KEPT = 32  # for who asks shortly after the end: the call's page, a rehearsal


HANDED_OVER = "the call was transferred to a person"
"""Why a call ends whose phone call goes on elsewhere."""


class CallClosed(Exception):
    """The call is ending or closed; nothing can be done in it."""


class CallState(Enum):
    """Where a call is in its life; it only ever moves down this list."""

    ACTIVE = auto()
    """It has a session."""
    ENDING = auto()
    """Somebody has asked it to end; it may still hold a session, a socket, a phone call."""
    CLOSED = auto()
    """It holds nothing any more."""


async def _at_once() -> bool:
    return False


TakeOver = Callable[[WebSocket, Start], float | None]
"""Goes on with another stream; gives the seconds that were lost, or None where it is too late for that."""


@dataclass(eq=False)  # calls are kept in a set, and no two are the same
class Call:
    """One call: its names, its state, and what ends it.

    Attributes:
        state: where it is in its life.
        start: Twilio's ``start`` message.
        began_s: when it came, on the monotonic clock.
        began: the same, by the calendar (UTC).
        observations: what its taps have seen.
        websocket: of its stream, the newest; closed with the call. None where it has another connection.
        take_over: goes on with another stream of the phone call; None where that cannot be.
        session: who talks with the caller; None once it is closed.
        expected: what was decided of it before its stream came.
        broke_off: whether its stream was lost, and the phone call may go on by another one.
        caller_hung_up: whether Twilio has said that the phone call is over.
        handed_over: whether the phone call goes on without us, or is about to.
        until_played: waits until the caller has heard what the bot has said; True where that is known.
        closed: is set when it holds nothing any more.
        is_heard: tells whether the caller's audio still comes, which no stream does that Twilio has ended.
    """

    start: Start
    began_s: float = field(default_factory=time.monotonic)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    observations: CallObservations = field(default_factory=CallObservations)
    websocket: WebSocket | None = None
    take_over: TakeOver | None = None
    session: DuplexSession | None = None
    broke_off: bool = False
    caller_hung_up: bool = False
    handed_over: bool = False
    is_heard: Callable[[], bool] = lambda: False
    until_played: Callable[[], Awaitable[bool]] = _at_once
    expected: PendingCall = field(default_factory=PendingCall)
    state: CallState = CallState.ACTIVE
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    _closed_s: float | None = None
    _action: asyncio.Task[None] | None = None  # kept here: whoever acts on a call, one thing at a time
    _end_requested: asyncio.Future[tuple[str, int]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def name(self) -> str:
        """The call's SID, shortened for the log."""
        return short_sid(self.start.call_sid)

    def request_end(self, reason: str, code: int = 1000) -> None:
        """Ask the call to end; the first reason counts.

        Args:
            reason: one sentence, which the log and the closed socket carry.
            code: what the socket is closed with (RFC 6455, section 7.4).
        """
        if self.state is CallState.ACTIVE:
            self.state = CallState.ENDING
            self._end_requested.set_result((reason, code))

    def say(self, text: str) -> None:
        """Have these words said to the caller. Returns at once.

        Raises:
            CallClosed: when the call is ending or closed.
            Unsupported: when the engine cannot.
            ValueError: when there is nothing in the text to say, or too much.
        """
        if self.session is None or self.state is not CallState.ACTIVE:
            raise CallClosed(f"The call {self.name} is over.")
        try:
            self.session.say(text)
        except (SystemExit, KeyboardInterrupt) as error:  # of an engine of the user's own
            raise Unsupported(f"{self.session.display_name} cannot say it ({error!r}).") from error

    def cancel_action(self) -> None:
        """Do no more of what ``start_action`` began."""
        if self._action is not None:
            self._action.cancel()

    def stream_ended(self, reason: str) -> None:
        """Ask the call to end because its stream has, which a transfer expects."""
        self.request_end(HANDED_OVER if self.handed_over else reason)

    @property
    def end_reason(self) -> str | None:
        """Why it ends; None while it goes on."""
        return self._end_requested.result()[0] if self._end_requested.done() else None

    async def wait_for_end(self) -> tuple[str, int]:
        """Wait until the call is asked to end; gives the reason and the code."""
        # Several wait for it: without the shield, one that gives up would cancel it for all.
        return await asyncio.shield(self._end_requested)

    def start_action(self, work: Coroutine[Any, Any, None], reason: str) -> bool:
        """Run something that is done with the call on purpose, such as a transfer; one thing at a time.

        Args:
            work: it is closed where something else is under way.
            reason: a sentence for the log.

        Returns:
            Whether it was started.
        """
        if self._action is not None and not self._action.done():
            work.close()
            return False
        logger.info("{}", reason)
        self._action = asyncio.create_task(work, name=f"action in call {self.name}")
        return True

    @property
    def file_name(self) -> str:
        """What its files are called: when it began (UTC), and its SID.

        Two streams that claim one SID in one second share a name; their files do not (``private_files``).
        """
        return f"{self.began:%Y-%m-%dT%H-%M-%SZ}-{self._plain_sid}"

    def heading(self, engine: str, mask: Callable[[str], str] = str) -> Heading:
        """Give what the files of its transcript begin with.

        Args:
            engine: who answers, by name.
            mask: is applied to both numbers.
        """
        who = dict[str, str]()
        if incoming := self.expected.incoming:
            who = {
                "from": visible(mask(incoming.from_)),
                "to": visible(mask(incoming.to)),
                "direction": incoming.direction,
            }
        return heading(self.began, self._plain_sid, engine, who)

    @property
    def _plain_sid(self) -> str:
        """Its SID, as far as that is what a SID consists of: a stranger's may hold anything."""
        return "".join(c for c in self.start.call_sid if c.isascii() and c.isalnum())[:34]

    @property
    def over(self) -> bool:
        """Whether it is closed."""
        return self.state is CallState.CLOSED

    @property
    def secs(self) -> float:
        """How long it has run, or ran."""
        return (time.monotonic() if self._closed_s is None else self._closed_s) - self.began_s

    def close(self) -> None:
        """Let go of the session, and stop the call's clock.

        Raises:
            RuntimeError: when it is closed already.
        """
        if self.state is CallState.CLOSED:
            raise RuntimeError(f"The call {self.name} is closed already.")
        self.request_end("the call was closed")
        self.state, self.session, self._closed_s = CallState.CLOSED, None, time.monotonic()
        self.closed.set()


@dataclass
class Calls:
    """All calls of this process.

    Attributes:
        running: those that have a session now.
        recent: the last few that have ended.
        past: the metrics of all that have ended, added up.
        served: how many have ended.
        closing: why no new calls are taken, or None while they are.
    """

    running: set[Call] = field(default_factory=set[Call])
    past: CallMetrics = field(default_factory=CallMetrics)
    recent: deque[Call] = field(default_factory=lambda: deque(maxlen=_OVER_KEPT))
    served: int = 0
    closing: str | None = None
    _awaited: dict[str, asyncio.Future[Call]] = field(default_factory=dict[str, "asyncio.Future[Call]"])
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
        if awaited := self._awaited.pop(start.call_sid, None):
            awaited.set_result(call)
        return call

    def finish(self, call: Call) -> None:
        """Enter that it is over and holds nothing any more."""
        call.close()
        # Both in one turn of the event loop: a scrape in between would count the call twice, or not at all.
        self.recent.append(call)
        self.past.include(call.observations.metrics)
        self.running.discard(call)
        self.served += 1
        if not self.running:
            self._idle.set()

    def count_frames(self) -> tuple[int, int]:
        """Count the frames of all calls, and those that missed their deadline."""
        metrics = (self.past, *(call.observations.metrics for call in self.running))
        return sum(one.frames for one in metrics), sum(one.deadline_misses for one in metrics)

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
            *reversed(self.recent),
        )  # a stream that was broken off may come again by its SID
        return next((call for call in known if call.start.call_sid == call_sid), None)

    def resumable(self, call_sid: str) -> Call | None:
        """Find the call that goes on if another stream of this phone call comes."""
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
        """End the streams of a phone call in whose place a newer one comes; the phone call goes on."""
        for call in self.running:
            if call.start.call_sid == call_sid and call.state is CallState.ACTIVE:
                call.handed_over = True
                call.request_end("a newer stream of the call took its place")

    def has_other(self, call: Call) -> bool:
        """Tell whether the same phone call has another stream here that goes on."""
        return any(
            other is not call
            and other.start.call_sid == call.start.call_sid
            and other.state is CallState.ACTIVE
            for other in self.running
        )

    async def begun(self, call_sid: str) -> Call:
        """Wait until a call with this SID begins; gives it."""
        if call_sid not in self._awaited:
            self._awaited[call_sid] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._awaited[call_sid])

    def end_all(self, reason: str) -> None:
        """Ask every call to end."""
        for call in self.running:
            call.request_end(reason)

    async def wait_until_idle(self) -> None:
        """Wait until no call runs."""
        while self.running:  # another call may begin between the last one's end and our turn
            await self._idle.wait()
