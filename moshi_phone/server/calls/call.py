"""One call: its names, its state, and what it holds until it is closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

from fastapi import WebSocket
from loguru import logger

from moshi_phone.access.redact import visible
from moshi_phone.engines.duplex import DuplexSession, Unsupported
from moshi_phone.records.call_metrics import CallObservations
from moshi_phone.records.transcript_file import Heading, heading
from moshi_phone.runtime.call_log import short_sid
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.telephony.media_stream import Start

HANDED_OVER = "the call was transferred to a person"
"""Why a call ends whose phone call continues elsewhere."""


class CallClosed(Exception):
    """The call is ending or closed; nothing can be done in it."""


class CallState(Enum):
    """Life of a call; the state only ever moves down this list."""

    ACTIVE = auto()
    """It has a session."""
    ENDING = auto()
    """An end was requested; the call may still hold a session, a socket and a phone call."""
    CLOSED = auto()
    """It holds nothing."""


async def _at_once() -> bool:
    return False


def _never() -> bool:
    return False


TakeOver = Callable[[WebSocket, Start], float | None]
"""Continues the call with another stream. Returns the lost time in seconds, or None if it is too late."""


@dataclass(eq=False)  # calls are stored in a set; no two are equal
class Call:
    """One call: names, state and resources.

    Attributes:
        state: see ``CallState``.
        start: Twilio's ``start`` message.
        began_s: start time, monotonic, in seconds.
        began: start time, UTC.
        observations: results of the pipeline's taps.
        websocket: the newest stream's; closed with the call. None on other transports.
        take_over: continues with another stream of the phone call; None if impossible.
        session: the engine's session; None once closed.
        expected: decisions made before the stream started.
        broke_off: whether the stream was lost and the phone call may continue with another.
        caller_hung_up: whether Twilio has reported the end of the phone call.
        handed_over: whether the phone call continues without us, or is about to.
        awaits_stream: whether Twilio says something and then connects another stream of this call.
        until_played: waits until the caller has heard the bot's audio; returns whether that is certain.
        closed: set once the call holds nothing.
        is_heard: returns whether the caller's audio still arrives; it stops when Twilio ends the stream.
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
    awaits_stream: bool = False
    is_heard: Callable[[], bool] = _never
    until_played: Callable[[], Awaitable[bool]] = _at_once
    expected: PendingCall = field(default_factory=PendingCall)
    state: CallState = CallState.ACTIVE
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    _closed_s: float | None = None  # freezes the call's duration
    _action: asyncio.Task[None] | None = None  # the one running action; the reference also holds the task
    _end_requested: asyncio.Future[tuple[str, int]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def name(self) -> str:
        """The call's SID, shortened for the log."""
        return short_sid(self.start.call_sid)

    def request_end(self, reason: str, code: int = 1000) -> None:
        """Ask the call to end. The first reason wins.

        Args:
            reason: one sentence, for the log and the closed socket.
            code: close code of the socket (RFC 6455, section 7.4).
        """
        if self.state is CallState.ACTIVE:
            self.state = CallState.ENDING
            self._end_requested.set_result((reason, code))

    def say(self, text: str) -> None:
        """Say a text to the caller. Returns at once.

        Raises:
            CallClosed: if the call is ending or closed.
            Unsupported: if the engine cannot speak given text.
            ValueError: if the text is empty or too long.
        """
        if self.session is None or self.state is not CallState.ACTIVE:
            raise CallClosed(f"The call {self.name} is over.")
        try:
            self.session.say(text)
        except (SystemExit, KeyboardInterrupt) as error:  # from a user's own engine
            raise Unsupported(f"{self.session.display_name} cannot say it ({error!r}).") from error

    def cancel_action(self) -> None:
        """Cancel the action of ``start_action``."""
        if self._action is not None:
            self._action.cancel()

    def stream_ended(self, reason: str) -> None:
        """Ask the call to end because its stream has ended; after a transfer, that is expected."""
        self.request_end(HANDED_OVER if self.handed_over else reason)

    @property
    def end_reason(self) -> str | None:
        """Why the call ends; None while it continues."""
        return self._end_requested.result()[0] if self._end_requested.done() else None

    async def wait_for_end(self) -> tuple[str, int]:
        """Wait until the end is requested; return the reason and the close code."""
        # Several tasks wait: without the shield, one cancelled waiter would cancel the future for all.
        return await asyncio.shield(self._end_requested)

    def start_action(self, work: Coroutine[Any, Any, None], reason: str) -> bool:
        """Run an action on the call, such as a transfer, unless another is running.

        Args:
            work: the action; closed unstarted if another is running.
            reason: one sentence for the log.

        Returns:
            Whether it was started.
        """
        if self._action is not None and not self._action.done():
            work.close()  # prevents "coroutine was never awaited"
            return False
        logger.info("{}", reason)
        self._action = asyncio.create_task(work, name=f"action in call {self.name}")
        return True

    @property
    def file_name(self) -> str:
        """Stem of the call's file names: start time (UTC) and SID.

        Streams that claim the same SID in the same second share it; their files do not (``private_files``).
        """
        return f"{self.began:%Y-%m-%dT%H-%M-%SZ}-{self._plain_sid}"

    def heading(self, engine: str, mask: Callable[[str], str] = str) -> Heading:
        """Return the heading of its transcript files.

        Args:
            engine: name of the engine.
            mask: masks both phone numbers.
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
        """The SID's letters and digits: a forged SID may contain anything."""
        return "".join(c for c in self.start.call_sid if c.isascii() and c.isalnum())[:34]

    @property
    def over(self) -> bool:
        """Whether it is closed."""
        return self.state is CallState.CLOSED

    @property
    def secs(self) -> float:
        """Duration so far, or of the ended call, in seconds."""
        return (time.monotonic() if self._closed_s is None else self._closed_s) - self.began_s

    def close(self) -> None:
        """Release the session, the stream and the pipeline, and stop the clock.

        Requests still find the call for a while; 32 pipelines with their buffers would take 40 MB.

        Raises:
            RuntimeError: if it is closed already.
        """
        if self.state is CallState.CLOSED:
            raise RuntimeError(f"The call {self.name} is closed already.")
        self.request_end("the call was closed")
        self.state, self.session, self._closed_s = CallState.CLOSED, None, time.monotonic()
        self.websocket, self.observations.conversation = None, None
        self.take_over, self.is_heard, self.until_played = None, _never, _at_once  # refer to the pipeline
        self.closed.set()
