"""A call that comes in, as Twilio's webhook tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moshi_phone.telephony.caller_id import is_number, normalize


@dataclass(frozen=True)
class IncomingCall:
    """A call that comes in, as Twilio's webhook tells of it.

    Attributes:
        call_sid: its name.
        from_: who calls, normalized (``caller_id.normalize``): E.164, ``anonymous``, or a SIP URI or client.
        to: who was called, normalized likewise; mostly a number of the account.
        direction: ``inbound``, or ``outbound-api`` for one that was dialled.
        caller_id: what a ``<Dial>`` from this call must show instead of its ``From``, E.164; None where the
            ``From`` will do. Twilio refuses (13214) to show a SIP address, a client or a withheld number.
        parameters: the webhook's other fields, by name.
    """

    call_sid: str
    from_: str = field(repr=False)
    to: str = field(repr=False)
    direction: str = "inbound"
    parameters: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    caller_id: str | None = field(default=None, repr=False)

    @classmethod
    def from_form(cls, form: Mapping[str, str]) -> IncomingCall:
        """Read Twilio's form."""
        own = {"CallSid", "From", "To", "Direction", "AccountSid"}
        from_ = normalize(form.get("From"))
        to = normalize(form["To"]) if form.get("To") else ""
        # As it came: whatsapp:+1555… is a number's key, but none that a phone can be shown.
        is_shown = is_number(from_) and form["From"] == from_
        return cls(
            form.get("CallSid", ""),
            from_,
            to,
            form.get("Direction", "inbound"),
            {name: value for name, value in form.items() if name not in own},
            caller_id=to if not is_shown and is_number(to) else None,
        )

    @property
    def own_number(self) -> str:
        """The account's number in this call; whoever dials it comes in again."""
        return self.from_ if self.direction.startswith("outbound") else self.to

    def as_json(self) -> dict[str, Any]:
        """Give it as hooks are told of it."""
        return {
            "call_sid": self.call_sid,
            "from": self.from_,
            "to": self.to,
            "direction": self.direction,
            "parameters": dict(self.parameters),
        }
