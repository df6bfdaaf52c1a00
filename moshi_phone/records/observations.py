"""What is known of one call while it runs and after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from moshi_phone.records.call_metrics import CallMetrics
from moshi_phone.records.transcript import Transcript


class KeptFile(Protocol):
    """A file that is kept of a call."""

    @property
    def path(self) -> Path:
        """Where it is."""


@dataclass
class CallObservations:
    """What the taps of one call fill: read it at any time.

    Attributes:
        kept: its files, by what they are: ``recording``, ``transcript``.
        metrics: of the call.
        transcript: of what both sides said.
    """

    kept: dict[str, KeptFile] = field(default_factory=dict[str, "KeptFile"])
    metrics: CallMetrics = field(default_factory=CallMetrics)
    transcript: Transcript = field(default_factory=Transcript)
