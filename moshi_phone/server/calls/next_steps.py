"""Decisions on phone calls whose streams have ended, until Twilio requests them. Pure."""

from __future__ import annotations

from moshi_phone.server.calls.pending import PendingCall

_MAX_CALLS = 10_000  # beyond that, the oldest is dropped; if Twilio asks, it is answered as a new call


class NextSteps:
    """Decisions on phone calls whose streams have ended, until Twilio requests them. Pure."""

    def __init__(self) -> None:
        self._steps: dict[str, str | PendingCall] = {}  # by SID, oldest first

    def end_with(self, call_sid: str, document: str) -> None:
        """Store the TwiML with which a call ends or is redirected."""
        self._note(call_sid, document)

    def resume(self, call_sid: str, expected: PendingCall) -> None:
        """Store a call whose stream broke off and that gets another one."""
        self._note(call_sid, expected)

    def forget(self, call_sid: str) -> None:
        """Drop the decision: the call has ended, or another stream has started."""
        self._steps.pop(call_sid, None)

    def peek(self, call_sid: str) -> str | PendingCall | None:
        """Return the decision; None if there is none."""
        return self._steps.get(call_sid)

    def broken_off(self) -> list[PendingCall]:
        """Return the calls that wait for another stream."""
        return [step for step in self._steps.values() if isinstance(step, PendingCall)]

    def _note(self, call_sid: str, step: str | PendingCall) -> None:
        self._steps.pop(call_sid, None)  # removed first, so that it moves to the end
        self._steps[call_sid] = step
        if len(self._steps) > _MAX_CALLS:
            del self._steps[next(iter(self._steps))]
