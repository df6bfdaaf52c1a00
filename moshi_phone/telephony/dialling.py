"""Places a call and follows it to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from moshi_phone.access.tokens import (
    ANY_CALL,
    LIFETIME_SECS,
    PERSONA_PARAMETER,
    VOICE_PARAMETER,
    StreamTokens,
    overrides_digest_input,
)
from moshi_phone.runtime.stop_signals import StopSignals
from moshi_phone.telephony.rest import MachineDetection, PlacedCall, TwilioApi
from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.telephony.twiml import connect_stream
from moshi_phone.telephony.webhooks import ENDED

POLL_SECS = 1.0  # interval between requests for the call's state
COMPLETED = "completed"
MAX_ERRORS = 5  # consecutive errors; below that, the call continues despite errors of Twilio's API
FORCED_SECS = 2.0  # time to hang up after a forced stop
RING_BUFFER_SECS = 5  # Twilio may add this to the ringing time

_WORDS = {
    "in-progress": "in progress",
    "busy": "busy: the line was taken, or the call was declined",
    "no-answer": "no answer",
    "failed": "failed: Twilio could not connect it; is it a number that can be called?",
    "canceled": "canceled before it was answered",
}

Say = Callable[[str], None]
Sleep = Callable[[float], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class CallPlan:
    """A call to place.

    Attributes:
        to: E.164.
        from_: E.164, a number of the account.
        stream_url: ``wss://…``, ours or another server's with the same auth token.
        status_url: where Twilio reports the status, or None.
        next_url: requested when the stream breaks off; None ends the call.
        ring_secs: how long it may ring.
        limit_secs: maximum duration.
        machine_detection: detection of answering machines, reported to ``status_url`` (see ``place_call``).
        persona: the answering persona: a name in that server's ``--personas``, or a prompt.
        voice: its voice.
    """

    to: str = field(repr=False)
    from_: str = field(repr=False)
    stream_url: str
    status_url: str | None = None
    next_url: str | None = None
    ring_secs: int = 30
    limit_secs: int = 3600
    machine_detection: MachineDetection | None = None
    persona: str = field(default="", repr=False)
    voice: str = ""

    def twiml(self, tokens: StreamTokens, unix_s: float) -> str:
        """Return the TwiML to run when the call is answered.

        The token is minted before Twilio has assigned a SID, and presented when the call is answered. It is
        therefore valid for any call, and for the whole ringing time.
        """
        lifetime_secs = self.ring_secs + RING_BUFFER_SECS + LIFETIME_SECS
        requested = {PERSONA_PARAMETER: self.persona, VOICE_PARAMETER: self.voice}
        token = tokens.mint(
            ANY_CALL, unix_s, lifetime_secs, bound_to=overrides_digest_input(self.persona, self.voice)
        )
        given = {name: value for name, value in requested.items() if value}
        return connect_stream(self.stream_url, token, self.status_url, given, next_url=self.next_url)


@dataclass
class Dialler:
    """Follows one call.

    Attributes:
        api: of the account that pays for it.
        stop: a stop request hangs the call up; a forced stop does not wait for that.
        say: receives each new status, one line for the user.
        on_placed: called with the call once Twilio has placed it.
        news: may be set to check the status at once.
        sleep: waits for some seconds.
    """

    api: TwilioApi
    stop: StopSignals
    say: Say
    on_placed: Callable[[PlacedCall], object] = lambda _: None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    sleep: Sleep = asyncio.sleep

    async def dial(self, plan: CallPlan, twiml: str) -> PlacedCall:
        """Place the call, print each status, and return when it has ended.

        Raises:
            TwilioError: if it could not be placed, or Twilio's API stays unavailable.
        """
        # Shielded: the request may place the call even if this task is cancelled; then the call must be
        # ended.
        placing = asyncio.ensure_future(
            self.api.place_call(
                to=plan.to,
                from_=plan.from_,
                twiml=twiml,
                ring_secs=plan.ring_secs,
                limit_secs=plan.limit_secs,
                status_url=plan.status_url,
                machine_detection=plan.machine_detection,
            )
        )
        call: PlacedCall | None = None
        try:
            call = await asyncio.shield(placing)
            self.on_placed(call)
            self.say(describe(call))
            async for now in self._changes(call):
                call = now
                self.say(describe(call))
            return call
        finally:
            if call is None or call.status not in ENDED:  # on an error, a stop or a cancellation
                await self._end(placing)

    async def _changes(self, call: PlacedCall) -> AsyncIterator[PlacedCall]:
        """Yield the call at each change of its status, until it has ended."""
        errors, hung_up = 0, False
        while call.status not in ENDED and not self.stop.force_requested.is_set():
            if self.stop.stop_requested.is_set() and not hung_up:
                self.say("hanging up")
                await self._hang_up(call.sid)
                hung_up = True
            else:
                await self._pause(hung_up)
            try:
                now = await self.api.fetch_call(call.sid)
            except TwilioError:
                errors += 1  # the call may continue meanwhile; not yet a reason to end it
                if errors == MAX_ERRORS:
                    raise
                continue
            errors = 0
            if now.status != call.status:
                call = now
                yield call

    async def _pause(self, hung_up: bool) -> None:
        """Wait until the next check is due or requested."""
        signal = self.stop.force_requested if hung_up else self.stop.stop_requested
        # Polling as well: Twilio's reports need a URL of ours, which --url lacks.
        waits: list[Awaitable[Any]] = [self.sleep(POLL_SECS), self.news.wait(), signal.wait()]
        tasks = [asyncio.ensure_future(one) for one in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        self.news.clear()

    async def _end(self, placing: asyncio.Future[PlacedCall]) -> None:
        """End a call whose status is no longer followed: it would continue and cost money."""
        try:
            call = await placing
        except TwilioError:
            return  # none was placed
        await self._hang_up(call.sid)

    async def _hang_up(self, sid: str) -> None:
        """End the call, with all retries, unless a stop is forced."""
        ending = asyncio.ensure_future(self.api.hang_up(sid))
        if await self.stop.wait_unless_forced(ending, forced_secs=FORCED_SECS):
            ending.result()
        else:
            ending.cancel()
            self.say("the call may still be running: see https://console.twilio.com")


def describe(call: PlacedCall) -> str:
    """Describe the state of a call."""
    if call.status == COMPLETED and call.duration_secs is not None:
        return f"completed after {call.duration_secs} s"
    return _WORDS.get(call.status, call.status)
