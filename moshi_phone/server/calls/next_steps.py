"""What was decided of phone calls whose streams are over, until Twilio asks. Pure."""

from __future__ import annotations

from moshi_phone.server.calls.pending import PendingCall

_MAX_CALLS = 10_000  # remembered; then the oldest is forgotten, and answered as a new call if Twilio asks


class NextSteps:
    """What was decided of phone calls whose streams are over, until Twilio asks. Pure."""

    def __init__(self) -> None:
        self._steps: dict[str, str | PendingCall] = {}

    def end_with(self, call_sid: str, document: str) -> None:
        """Remember what a call does that has ended as it should, or is led elsewhere: TwiML."""
        self._note(call_sid, document)

    def resume(self, call_sid: str, expected: PendingCall) -> None:
        """Remember a call whose stream broke off: it is to have another one."""
        self._note(call_sid, expected)

    def forget(self, call_sid: str) -> None:
        """Remember nothing of a call: it has ended, or another stream has come."""
        self._steps.pop(call_sid, None)

    def peek(self, call_sid: str) -> str | PendingCall | None:
        """Give what was decided; None where nothing is known."""
        return self._steps.get(call_sid)

    def broken_off(self) -> list[PendingCall]:
        """Give the calls whose streams broke off, and have no other yet."""
        return [step for step in self._steps.values() if isinstance(step, PendingCall)]

    def _note(self, call_sid: str, step: str | PendingCall) -> None:
        self._steps.pop(call_sid, None)
        self._steps[call_sid] = step
        if len(self._steps) > _MAX_CALLS:
            del self._steps[next(iter(self._steps))]
