"""What is known of one call while it runs and after it."""

from __future__ import annotations

from dataclasses import dataclass, field

from records.call_metrics import CallMetrics
from records.transcript import Transcript


@dataclass
class CallObservations:
    """What the taps of one call fill: read it at any time.

    Attributes:
        metrics: of the call.
        transcript: of what both sides said.
    """

    metrics: CallMetrics = field(default_factory=CallMetrics)
    transcript: Transcript = field(default_factory=Transcript)
