"""A caller's consent to storage: none before the notice, and none after a refusal. Pure."""

from __future__ import annotations

from dataclasses import dataclass

TOLD, REFUSED = "told", "refused"


@dataclass
class Consent:
    """The consent of one call.

    Attributes:
        since_s: time from which the call may be stored, in seconds since its begin; None while it may not.
        state: for the call's row: ``told`` or ``refused``; None if no notice is required.
    """

    since_s: float | None = 0.0
    state: str | None = None

    @classmethod
    def awaited(cls) -> Consent:
        """Create the consent of a caller who has not heard the notice yet."""
        return cls(None)

    def told(self, at_s: float) -> None:
        """Record that the caller has heard the notice; ignored after a refusal."""
        if self.state != REFUSED:
            self.since_s, self.state = at_s, TOLD

    def refuse(self) -> None:
        """Record a refusal, which is final."""
        self.since_s, self.state = None, REFUSED

    def may_keep(self, at_s: float) -> bool:
        """Return whether audio and words of this time may be stored."""
        return self.since_s is not None and at_s >= self.since_s
