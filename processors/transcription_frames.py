"""Converts the words of both sides into pipecat's own frames, for its observers, aggregators and services."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.utils.text.base_text_aggregator import TextType

from moshi_phone.audio.formats import FRAME_MS
from moshi_phone.engines.duplex import CallerText, DuplexStep

Response = TypeVar("Response", LLMFullResponseStartFrame, LLMFullResponseEndFrame, LLMTextFrame, TTSTextFrame)

CALLER = "caller"  # the ``user_id`` of transcriptions
HEARD_S = "heard_s"  # ``metadata`` key: length of the caller's audio so far, to compare with ``at_s``
PAUSE_STEPS = 1000 // FRAME_MS  # steps without a word that end a turn
MAX_TURN_CHARS = 2_000  # each interim transcription repeats its whole turn; a longer turn is split
TURN_HEAD, TURN_PROBABILITY = 2, 0.5  # of the recognizer's pause heads; Kyutai's own choice
NS_PER_S = 1_000_000_000

CALLER_FRAMES = (
    InterimTranscriptionFrame,
    TranscriptionFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
"""The frames of the caller's words and turns, which a full-duplex service pushes in both directions."""


class WordFrames:
    """Creates frames from an engine's steps, like pipecat's own full-duplex service.

    The bot's words: ``LLMFullResponseStartFrame``; for each piece an ``LLMTextFrame`` (not for the context)
    and a ``TTSTextFrame``; after a pause ``LLMFullResponseEndFrame``; all with ``skip_tts``. The caller's
    words: an ``InterimTranscriptionFrame`` with all words since the last pause, whose ``result`` contains the
    new pieces (``CallerText``); after the pause a ``TranscriptionFrame``; around them
    ``UserStartedSpeakingFrame`` and ``UserStoppedSpeakingFrame``. ``pts`` is the time of speaking, on the
    pipeline's clock.
    """

    def __init__(self) -> None:
        self._bot_quiet_steps: int | None = None  # None while no response is open
        self._caller_text = ""  # of the open turn
        self._caller_late_s = 0.0  # delay between its first word and that word's transcription
        self._caller_quiet_steps = 0  # steps without a new word
        self._turn_ends = False  # whether the next step yields the frame that ends a turn

    def of_step(self, step: DuplexStep, heard_s: float, now_ns: int) -> Iterator[Frame]:
        """Yield the frames of a step.

        Args:
            step: of the engine.
            heard_s: length of the caller's audio given to the engine so far, in seconds.
            now_ns: the pipeline's clock, in nanoseconds.
        """
        yield from self._turn_ended()
        yield from self._bot(step.text, now_ns)
        pauses = step.pause_probabilities  # empty if the model has no such heads
        turn_over = len(pauses) > TURN_HEAD and pauses[TURN_HEAD] > TURN_PROBABILITY
        yield from self._caller(step.caller_text, turn_over, heard_s, now_ns)

    def finish(self) -> Iterator[Frame]:
        """Yield the frames that close open responses and turns at the end of the call."""
        if self._bot_quiet_steps is not None:
            self._bot_quiet_steps = None
            yield _not_for_tts(LLMFullResponseEndFrame())
        yield from self._caller_finished()
        yield from self._turn_ended()

    def _bot(self, text: str, now_ns: int) -> Iterator[Frame]:
        if text:
            if self._bot_quiet_steps is None:
                yield _not_for_tts(LLMFullResponseStartFrame())
            self._bot_quiet_steps = 0
            written = LLMTextFrame(text)
            # only the spoken frame is for the context; otherwise each word would be in it twice
            written.append_to_context = False
            spoken = TTSTextFrame(text, text_type=TextType.TOKEN)
            spoken.includes_inter_frame_spaces = True  # otherwise pipecat puts blanks between pieces of words
            written.pts = spoken.pts = now_ns
            yield from (_not_for_tts(written), _not_for_tts(spoken))
        elif self._bot_quiet_steps is not None:
            self._bot_quiet_steps += 1
            if self._bot_quiet_steps >= PAUSE_STEPS:
                self._bot_quiet_steps = None
                yield _not_for_tts(LLMFullResponseEndFrame())

    def _caller(
        self, pieces: tuple[CallerText, ...], turn_over: bool, heard_s: float, now_ns: int
    ) -> Iterator[Frame]:
        if pieces:
            late_s = heard_s - pieces[0].at_s
            if not self._caller_text:
                self._caller_late_s = late_s
                yield UserStartedSpeakingFrame()
            self._caller_text += "".join(piece.text for piece in pieces)
            self._caller_quiet_steps = 0
            interim = InterimTranscriptionFrame(
                self._caller_text.strip(), CALLER, _before(late_s), result=pieces
            )
            interim.pts = max(0, now_ns - round(late_s * NS_PER_S))
            interim.metadata[HEARD_S] = heard_s
            yield interim
        elif self._caller_text:
            self._caller_quiet_steps += 1
        # Either condition: the recognizer's pause heads are faster, but not every model has them.
        is_full = len(self._caller_text) >= MAX_TURN_CHARS
        if turn_over or is_full or self._caller_quiet_steps >= PAUSE_STEPS:
            yield from self._caller_finished()

    def _caller_finished(self) -> Iterator[Frame]:
        text, self._caller_text = self._caller_text.strip(), ""
        self._caller_quiet_steps = 0
        if text:
            yield TranscriptionFrame(text, CALLER, _before(self._caller_late_s), finalized=True)
            self._turn_ends = True

    def _turn_ended(self) -> Iterator[Frame]:
        # A step after the transcription: as a system frame it would overtake it in an aggregator's queue.
        if self._turn_ends:
            self._turn_ends = False
            yield UserStoppedSpeakingFrame()


def _not_for_tts(frame: Response) -> Response:
    frame.skip_tts = True  # otherwise a TTS behind the engine would repeat its words
    return frame


def _before(late_s: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=late_s)).isoformat(timespec="milliseconds")
