"""Actions on a running call: transfer, goodbye, message, time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from loguru import logger

from moshi_phone.access.public_address import TRANSFERRED_PATH
from moshi_phone.engines.duplex import Unsupported
from moshi_phone.server.calls.answering import connect
from moshi_phone.server.calls.call import HANDED_OVER, Call, CallClosed, CallState
from moshi_phone.server.calls.next_step import may_resume
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.calls.whisper import whisper_url
from moshi_phone.telephony import twiml
from moshi_phone.telephony.e164 import parse_number
from moshi_phone.telephony.rest_errors import TwilioError

NOTICE_SECS = 15.0  # maximum time for a notice, plus WORD_SECS for each word
WORD_SECS = 1.0
NOT_PUT_THROUGH = "I am sorry, I cannot reach anybody at the moment."


class CallControl:
    """Acts on one call, one action at a time (``Call.start_action``), without delaying its audio.

    Args:
        call: a running call.
        state: shared state of the server.
    """

    def __init__(self, call: Call, state: ServerState) -> None:
        self._call = call
        self._state = state

    def transfer(self, why: str, to: str | None = None) -> bool:
        """Transfer the caller to a person, after the notice. Returns at once.

        Args:
            why: one sentence for the log.
            to: E.164; by default the hook's number for this call, or ``--transfer-to``.

        Returns:
            Whether it was started: False without a number or a Twilio account, or during another action.
        """
        to = to or self._call.expected.transfer_to or self._state.settings.calls.transfer_to
        if to is None or self._state.rest is None:
            missing = "--transfer-to" if to is None else "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN"
            logger.warning("{}, but {} is not set", why, missing)
            return False
        incoming = self._call.expected.incoming
        if incoming and parse_number(to) == incoming.own_number:
            logger.warning("{}, but the number for it is this line's own", why)
            return False
        return self._call.start_action(self._transfer(to), why)

    def say_goodbye(self, why: str) -> bool:
        """End the call once the caller has heard all of the bot's goodbye. Returns at once.

        Args:
            why: one sentence for the log.

        Returns:
            Whether it was started.
        """
        return self._call.start_action(self._end_when_played(why), why)

    def take_back_goodbye(self) -> None:
        """Cancel the goodbye: the caller speaks again."""
        logger.info("The caller speaks again; the call continues")
        self._call.cancel_action()

    def leave_message(self, text: str, why: str) -> bool:
        """Say a message, and hang up. Returns at once.

        Args:
            text: to say.
            why: one sentence for the log.

        Returns:
            Whether it was started.
        """
        return self._call.start_action(self._leave_message(text), why)

    async def _transfer(self, to: str) -> None:
        call, state = self._call, self._state
        assert state.rest is not None  # noqa: S101 - checked by the caller
        if (notice := state.settings.calls.transfer_notice) and await self._say(notice):
            await call.until_played()
        if call.state is not CallState.ACTIVE:  # during the notice
            logger.info("The call ended before the transfer")
            return
        ring_secs = state.settings.calls.transfer_ring_secs
        incoming = call.expected.incoming
        document = twiml.dial(
            to,
            ring_secs,
            state.webhooks.https(TRANSFERRED_PATH),
            caller_id=incoming.caller_id if incoming else None,
            whisper_url=whisper_url(call.start.call_sid, state),
        )
        # If nobody answers, the caller returns with the same settings.
        state.expected.add(call.start.call_sid, call.expected, state.clock(), later_s=ring_secs)
        state.history.update(call.start.call_sid, transfer_to=to)
        call.handed_over = True  # already: Twilio may end the stream before it answers
        try:
            await state.rest.redirect(call.start.call_sid, document, call.is_heard)
        except TwilioError as error:
            call.handed_over = False  # the phone call is ours again
            logger.error("The transfer failed: {}", error)
            # Otherwise the caller would wait in silence.
            if not await self._say(NOT_PUT_THROUGH) and may_resume(call, state):
                await self._say_by_twilio(NOT_PUT_THROUGH)
            return
        # Not earlier: until Twilio has accepted the redirect, only the stream holds the caller.
        call.request_end(HANDED_OVER)

    async def _say_by_twilio(self, text: str) -> None:
        """Have Twilio's voice say a text. The call then continues, with its session, in another stream."""
        call, state = self._call, self._state
        assert state.rest is not None  # noqa: S101 - checked by the caller
        if call.state is not CallState.ACTIVE:
            return
        sid = call.start.call_sid
        document = connect(sid, state, call.expected.resumes, has_session=True, notice=text)
        state.expected.add(sid, call.expected, state.clock())
        state.next_steps.resume(sid, call.expected)
        call.awaits_stream = True  # already: Twilio may end the stream before it answers
        try:
            await state.rest.redirect(sid, document, call.is_heard)
        except TwilioError as error:
            call.awaits_stream = False
            state.next_steps.forget(sid)
            logger.error("The caller could not be informed: {}", error)

    async def _end_when_played(self, why: str) -> None:
        await self._call.until_played()
        self._call.request_end(why)

    async def _leave_message(self, text: str) -> None:
        if was_said := await self._say(text):
            await self._call.until_played()
        self._call.request_end(
            "a message was left" if was_said else "a machine answered, and no message could be left"
        )

    async def _say(self, text: str) -> bool:
        """Say a text and wait for its end; return False if it was not said completely."""
        session = self._call.session
        try:
            self._call.say(text)
            assert session is not None  # noqa: S101 - a call without one is over
            async with asyncio.timeout(NOTICE_SECS + WORD_SECS * len(text.split())):
                await session.said()
        except (Unsupported, CallClosed, ValueError) as error:
            logger.warning("A notice was not said: {}", error)
        except TimeoutError:
            logger.warning("Saying a notice took too long")
        else:
            return True
        return False


LIMIT_NOTICE_SECS = 30.0
NOTICE = "This call ends in half a minute."
SHORT_NOTICE = "This call is about to end."


async def end_at_limit(call: Call, limit_secs: float, sound: Callable[[], None]) -> None:
    """Announce the end of a call before its limit, then end it. Cancelled if the call ends earlier.

    Args:
        call: has just begun.
        limit_secs: maximum duration.
        sound: plays a tone, if the engine cannot say the notice.
    """
    notice_secs = min(LIMIT_NOTICE_SECS, limit_secs / 2)
    await asyncio.sleep(limit_secs - notice_secs)
    try:
        call.say(NOTICE if notice_secs == LIMIT_NOTICE_SECS else SHORT_NOTICE)
    except Unsupported:
        sound()
    except (CallClosed, ValueError) as error:
        logger.warning("The end could not be announced: {}", error)
    # Not counted from the notice's end: the limit bounds the cost of the call.
    await asyncio.sleep(notice_secs)
    call.request_end(f"it lasted {limit_secs:g} s, which --call-limit-secs allows")
