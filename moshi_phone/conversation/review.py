"""Review of a recorded call: audio in, summary, criteria and the picture's data out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.conversation.conversation import Conversation, summary
from moshi_phone.conversation.criteria import Criterion, judge
from moshi_phone.conversation.echo import MAX_LOSS_DB, EchoDetector
from moshi_phone.conversation.events import Event
from moshi_phone.conversation.facts import LISTENED_S, CallFacts, FoundEcho, facts_beside
from moshi_phone.conversation.recordings import read_call
from moshi_phone.conversation.sound import Sound
from moshi_phone.conversation.turns import Voices


@dataclass(frozen=True)
class Reviewed:
    """The review of a call's conversation.

    Attributes:
        facts: facts beyond the audio.
        voices: the speech segments of both voices.
        events: the conversation's events.
        sound: loudness of both voices.
    """

    facts: CallFacts
    voices: Voices
    events: Sequence[Event]
    sound: Sound

    @property
    def talked(self) -> dict[str, Any]:
        """The summary, in the format of ``report.json``."""
        return summary(self.voices, list(self.events))

    @property
    def criteria(self) -> list[Criterion]:
        """The criteria of its test report."""
        return judge(self.talked, self.facts.line)

    @property
    def failed(self) -> int:
        """Number of failed criteria."""
        return sum(point.passed is False for point in self.criteria)


def review_recording(paths: Sequence[Path]) -> Reviewed:
    """Review a recording, with memory independent of its length.

    Args:
        paths: one stereo file (the caller left), or two mono ones (the caller's first).

    Raises:
        RecordingUnusable: when it cannot be read.
    """
    return review(read_call(paths), facts_beside(paths[0]))


def review(blocks: Iterable[NDArray[np.int16]], facts: CallFacts) -> Reviewed:
    """Review a call's audio.

    Args:
        blocks: int16 ``[n, 2]``, 8 kHz: the caller, and the bot as the caller hears it.
        facts: facts beyond the audio.
    """
    sound, echo, secs = Sound(), None, 0.0
    detector = EchoDetector() if facts.line.echo_db is None else None
    talked = Conversation()
    for block in blocks:
        talked.feed(block)
        sound.feed(block)
        if detector is None:
            continue
        for begin in range(0, len(block), PHONE_RATE_HZ):
            second = block[begin : begin + PHONE_RATE_HZ]
            secs += len(second) / PHONE_RATE_HZ
            detector.feed(second)
            echo = detector.echo or echo
            if echo and facts.echo is None:
                facts = replace(facts, echo=FoundEcho(secs, echo.delay_ms, echo.loss_db))
    talked.finish()
    if detector is not None and detector.bot_s >= LISTENED_S:
        echo_db = echo.loss_db if echo else MAX_LOSS_DB
        facts = replace(facts, line=replace(facts.line, echo_db=echo_db))
    if facts.line.clipped_share is None:
        facts = replace(facts, line=replace(facts.line, clipped_share=sound.clipped_share(1)))
    return Reviewed(facts, talked.voices, talked.events, sound)
