"""Whether anything of a call may be kept: not before the caller was told, and not after a refusal. Pure."""

from __future__ import annotations

from dataclasses import dataclass

TOLD, REFUSED = "told", "refused"


@dataclass
class Consent:
    """One call's.

    Attributes:
        since_s: from when on it may be kept, in seconds since the call began; None while nothing may.
        state: for the call's row: ``told``, ``refused``; None where nobody has to be told.
    """

    since_s: float | None = 0.0
    state: str | None = None

    @classmethod
    def awaited(cls) -> Consent:
        """Make one of a caller who is still to be told."""
        return cls(None)

    def told(self, at_s: float) -> None:
        """Enter that the caller was told, and has not refused meanwhile."""
        if self.state != REFUSED:
            self.since_s, self.state = at_s, TOLD

    def refuse(self) -> None:
        """Enter that the caller refuses; for good."""
        self.since_s, self.state = None, REFUSED

    def may_keep(self, at_s: float) -> bool:
        """Tell whether what was said at this time may be kept."""
        return self.since_s is not None and at_s >= self.since_s
