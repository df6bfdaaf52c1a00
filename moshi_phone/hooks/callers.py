"""Rules on callers: allowed numbers, and calls per hour. Pure: time is an argument."""

from __future__ import annotations

import re
from collections.abc import Iterable

from moshi_phone.access.refusal import Refusal, RefusalCause
from moshi_phone.runtime.errors import UserError
from moshi_phone.telephony.caller_id import ANONYMOUS, normalize
from moshi_phone.telephony.e164 import compact

HOUR_S = 3600.0
_MAX_CALLERS = 10_000  # remembered at a time; beyond it, the least recent callers are forgotten
_NUMBER = re.compile(r"\+[1-9][0-9]{0,14}\*?")
_NAME = re.compile(r"(?:sip|client):(?:[^\s*]+|\*|[^\s*]+\*)")


class BadPattern(UserError):
    """A pattern of ``--allow`` or ``--deny`` is invalid; the message states the expected form."""


def parse_pattern(text: str, option: str) -> str:
    """Check a number, or the beginning of one with a star: ``+15551234567``, ``+1555*``.

    ``anonymous`` stands for withheld numbers; SIP addresses and clients are accepted as well.

    Raises:
        BadPattern: for anything else.
    """
    plain = text.strip()
    start, star = plain.removesuffix("*"), "*" if plain.endswith("*") else ""
    if plain and not star and normalize(plain) == ANONYMOUS:
        return ANONYMOUS
    if start.startswith("+"):
        pattern = compact(start) + star
    else:  # a number without its country code cannot be guessed
        pattern = start.lower() + star if star else normalize(plain) if ":" in plain else ""
    if not (_NUMBER.fullmatch(pattern) or _NAME.fullmatch(pattern)):
        raise BadPattern(f"{option}: expected a number such as +15551234567, or +1555*, got {text!r}.")
    return pattern


class CallerRules:
    """Decides whether a number may call.

    Args:
        allow: patterns; if there are any, all other numbers are rejected.
        deny: patterns; they take precedence.
        calls_per_hour: of one number; 0 for no limit.
    """

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = (), calls_per_hour: int = 0) -> None:
        # Parsed here as well as at startup, so that no instance has unchecked patterns.
        self._allow = [parse_pattern(one, "--allow") for one in allow]
        self._deny = [parse_pattern(one, "--deny") for one in deny]
        self._calls_per_hour = calls_per_hour
        self._calls: dict[str, dict[str, float]] = {}  # time of each call, by number and SID

    def refusal(self, number: str, call_sid: str, now_s: float) -> Refusal | None:
        """Return why this number may not call now, or count its call and return None.

        Args:
            number: normalized (``telephony/caller_id.py``); withheld numbers count as one caller.
            call_sid: the call's SID: Twilio repeats a webhook without a response, which counts once.
            now_s: monotonic.
        """
        if any(_fits(number, pattern) for pattern in self._deny):
            return Refusal(RefusalCause.DENIED, "the number is on the --deny list")
        if self._allow and not any(_fits(number, pattern) for pattern in self._allow):
            return Refusal(RefusalCause.DENIED, "the number is not on the --allow list")
        return self._over_limit(number, call_sid, now_s)

    def _over_limit(self, number: str, call_sid: str, now_s: float) -> Refusal | None:
        if not self._calls_per_hour:
            return None
        calls = self._calls.pop(number, {})  # put back below, as the latest
        calls = {sid: at_s for sid, at_s in calls.items() if now_s - at_s < HOUR_S}
        self._calls[number] = calls
        if len(self._calls) > _MAX_CALLERS:
            del self._calls[next(iter(self._calls))]
        if len(calls) >= self._calls_per_hour and call_sid not in calls:
            # Not counted: otherwise repeated attempts would extend the block forever.
            return Refusal(RefusalCause.RATE, f"the number has called {len(calls)} times within an hour")
        calls.setdefault(call_sid, now_s)
        return None


def _fits(number: str, pattern: str) -> bool:
    return number.startswith(pattern[:-1]) if pattern.endswith("*") else number == pattern
