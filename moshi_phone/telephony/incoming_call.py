"""The data of a call in Twilio's webhooks: who calls, whom, and which number a transfer may show. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from moshi_phone.telephony.caller_id import is_number, normalize


@dataclass(frozen=True)
class IncomingCall:
    """A call announced by Twilio's webhook.

    Attributes:
        call_sid: SID of the call.
        from_: the caller, normalized (``caller_id.normalize``): E.164, ``anonymous``, or a SIP URI or client.
        to: the called party, normalized likewise; usually a number of the account.
        direction: ``inbound``, or ``outbound-api`` for a dialled call.
        caller_id: E.164 number that a ``<Dial>`` from this call must show instead of its ``From``; None if
            ``From`` is allowed. Twilio refuses (13214) to show a SIP address, a client or a withheld number.
        parameters: other fields of the webhook, by name.
    """

    call_sid: str
    from_: str = field(repr=False)
    to: str = field(repr=False)
    direction: str = "inbound"
    parameters: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    caller_id: str | None = field(default=None, repr=False)

    @classmethod
    def from_form(cls, form: Mapping[str, str], line_number: str | None = None) -> IncomingCall:
        """Parse Twilio's form.

        Args:
            form: fields by name.
            line_number: a number of the account, E.164, to show for calls to a SIP address.
        """
        own = {"CallSid", "From", "To", "Direction", "AccountSid"}
        from_ = normalize(form.get("From"))
        to = normalize(form["To"]) if form.get("To") else ""
        # The raw value: whatsapp:+1555… normalizes to a number, but cannot be shown on a phone.
        is_shown = is_number(from_) and form["From"] == from_
        return cls(
            form.get("CallSid", ""),
            from_,
            to,
            form.get("Direction", "inbound"),
            {name: value for name, value in form.items() if name not in own},
            caller_id=None if is_shown else to if is_number(to) else line_number,
        )

    @property
    def own_number(self) -> str:
        """The account's number in this call; dialling it would lead here again."""
        if self.direction.startswith("outbound"):
            return self.from_
        return self.to if is_number(self.to) else self.caller_id or self.to

    @property
    def party(self) -> str:
        """The remote party: the caller, or the person who was dialled."""
        return self.to if self.direction.startswith("outbound") else self.from_
