"""One line of a transcript."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Speaker = Literal["caller", "bot"]


@dataclass(slots=True)
class TranscriptLine:
    """Words that one speaker said together.

    Attributes:
        at_s: when the first of them was said, since the start of the call.
        speaker: who said them.
        text: the words.
    """

    at_s: float
    speaker: Speaker
    text: str
