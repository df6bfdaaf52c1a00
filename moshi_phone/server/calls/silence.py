"""Detects silence: of the caller (a muted phone, a pocket call) and of the bot."""

from __future__ import annotations

from loguru import logger

from moshi_phone.access.refusal import INTERNAL_ERROR
from moshi_phone.conversation.live import LiveConversation
from moshi_phone.conversation.ongoing import Moment
from moshi_phone.engines.duplex import Unsupported
from moshi_phone.server.calls.call import Call, CallClosed
from moshi_phone.server.calls.state import ServerState

NOTICE_SHARE = 2 / 3  # share of silence_secs after which the caller is asked


def watch_conversation(call: Call, state: ServerState) -> LiveConversation | None:
    """Measure a call's conversation, and act on silence as configured; None if no option needs it."""
    options = state.settings.calls
    if not (state.settings.taps.meter or options.silence_secs or options.mute_secs):
        return None
    talk = LiveConversation(state.judge, call.observations.metrics.conversation)
    if options.silence_secs:
        talk.watchers.append(SilentCaller(call, options.silence_secs, options.silence_notice))
    if options.mute_secs:
        talk.watchers.append(SilentBot(call, options.mute_secs, ends=options.fallback_to is not None))
    return talk


class SilentCaller:
    """Asks whether a silent caller is still there, and ends the call if the silence continues.

    Time is counted in the caller's audio, which Twilio sends in silence as well.

    Args:
        call: to end.
        silence_secs: maximum silence of the caller.
        notice: question to say; empty for none.
    """

    def __init__(self, call: Call, silence_secs: float, notice: str) -> None:
        self._call = call
        self._silence_secs = silence_secs
        self._notice = notice
        self._was_asked = False  # in this silence; reset when the caller speaks

    def __call__(self, moment: Moment) -> None:
        """Check the latest measurement of the conversation."""
        silent_s = moment.heard_s - moment.caller_until_s
        if silent_s >= self._silence_secs:
            self._call.request_end(f"the caller said nothing for {self._silence_secs:g} s")
        elif silent_s < NOTICE_SHARE * self._silence_secs:
            self._was_asked = False
        elif not self._was_asked:  # once in each silence
            self._was_asked = True
            self._ask()

    def _ask(self) -> None:
        if not self._notice:
            return
        try:
            self._call.say(self._notice)
        except Unsupported:
            logger.debug("The engine cannot say --silence-notice")
        except (CallClosed, ValueError) as error:
            logger.warning("The silent caller could not be addressed: {}", error)


class SilentBot:
    """Detects that the bot does not answer the caller.

    Args:
        call: the mute is counted in it; it may end.
        mute_secs: maximum time without an answer.
        ends: whether the call then ends like one whose engine failed.
    """

    def __init__(self, call: Call, mute_secs: float, *, ends: bool) -> None:
        self._call = call
        self._mute_secs = mute_secs
        self._ends = ends
        self._is_mute = False  # already counted: one long silence counts once

    def __call__(self, moment: Moment) -> None:
        """Check the latest measurement of the conversation."""
        since_s = moment.unanswered_since_s
        was_mute = self._is_mute
        self._is_mute = since_s is not None and moment.heard_s - since_s >= self._mute_secs
        if not self._is_mute or was_mute:
            return
        self._call.observations.metrics.conversation.mutes += 1
        reason = f"the bot did not answer for {self._mute_secs:g} s"
        if self._ends:
            self._call.request_end(reason, INTERNAL_ERROR)
        else:
            logger.warning("Mute: {}", reason)
