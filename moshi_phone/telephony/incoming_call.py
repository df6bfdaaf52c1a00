"""A call that comes in, as Twilio's webhook tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class IncomingCall:
    """A call that comes in, as Twilio's webhook tells of it.

    Attributes:
        call_sid: its name.
        from_: who calls; E.164, or a word for one who hides it.
        to: the number that was called.
        direction: ``inbound``, or ``outbound-api`` for one that was dialled.
        parameters: the webhook's other fields, by name.
    """

    call_sid: str
    from_: str = field(repr=False)
    to: str = field(repr=False)
    direction: str = "inbound"
    parameters: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @classmethod
    def from_form(cls, form: Mapping[str, str]) -> IncomingCall:
        """Read Twilio's form."""
        own = {"CallSid", "From", "To", "Direction", "AccountSid"}
        return cls(
            form.get("CallSid", ""),
            form.get("From", "anonymous"),
            form.get("To", ""),
            form.get("Direction", "inbound"),
            {name: value for name, value in form.items() if name not in own},
        )

    def as_json(self) -> dict[str, Any]:
        """Give it as hooks are told of it."""
        return {
            "call_sid": self.call_sid,
            "from": self.from_,
            "to": self.to,
            "direction": self.direction,
            "parameters": dict(self.parameters),
        }
