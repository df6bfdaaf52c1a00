"""What was decided of calls that were connected and whose streams are still to come. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from moshi_phone.engines.duplex import NO_REQUEST, CallRequest
from moshi_phone.telephony.incoming_call import IncomingCall

KEPT_S = 120.0  # longer than the token of such a stream lives
_MOST = 1_000  # then the oldest is forgotten, and its call begins as any other


@dataclass(frozen=True)
class ExpectedCall:
    """A call between its webhook and its stream.

    Attributes:
        incoming: what the webhook told of it; None for a stream that no webhook of ours connected.
        request: what it asks of the engine.
        transfer_to: E.164, where a transfer of it goes; None for where all go.
    """

    incoming: IncomingCall | None = None
    request: CallRequest = NO_REQUEST
    transfer_to: str | None = field(default=None, repr=False)


class ExpectedCalls:
    """Remembers each until its stream is here, or for two minutes where nobody says longer."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[float, ExpectedCall]] = {}  # until when, by SID

    def add(self, call_sid: str, expected: ExpectedCall, now_s: float, later_s: float = 0.0) -> None:
        """Remember what was decided; the last word counts, since Twilio asks twice where it had no answer.

        Args:
            call_sid: names the call.
            expected: what was decided.
            now_s: monotonic.
            later_s: how much longer than others its stream may take to come.
        """
        self._calls.pop(call_sid, None)  # so that it moves to the end, where the newest stand
        self._calls[call_sid] = (now_s + KEPT_S + later_s, expected)
        if len(self._calls) > _MOST:
            del self._calls[next(iter(self._calls))]

    def take(self, call_sid: str, now_s: float) -> ExpectedCall:
        """Give what was decided of a call whose stream is here, once; nothing special where nothing was."""
        self._calls = {
            sid: (until_s, expected) for sid, (until_s, expected) in self._calls.items() if now_s < until_s
        }
        _, expected = self._calls.pop(call_sid, (now_s, ExpectedCall()))
        return expected
