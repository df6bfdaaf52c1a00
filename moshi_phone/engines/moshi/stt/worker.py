"""Transcription during a call: frames in, timed words out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from moshi_phone.audio.formats import FRAME_MS
from moshi_phone.engines.duplex import CallerText
from moshi_phone.engines.moshi.model.detokenizer import Detokenizer
from moshi_phone.engines.moshi.model.token_history import Tokens
from moshi_phone.engines.moshi.model_thread import Batch
from moshi_phone.engines.moshi.step_batch import BatchPart, StepBatch
from moshi_phone.engines.moshi.stt.session import ListeningSession, transcribe_together
from moshi_phone.runtime.call_log import call_logger


class TimedTranscript:
    """Converts a call's text tokens to timed words.

    Args:
        detokenizer: for the listening model's tokens.
        audio_delay_s: delay of the text after the audio (``stt_config.audio_delay_seconds``).
    """

    def __init__(self, detokenizer: Detokenizer, audio_delay_s: float) -> None:
        self._detokenizer = detokenizer
        self._audio_delay_s = audio_delay_s

    def push(self, token: int, frame: int) -> CallerText | None:
        """Return the text that a token adds, with its time, or None.

        Args:
            token: a result of ``ListeningSession.step``.
            frame: the number of the caller's frame in that step, from 0.
        """
        text = self._detokenizer.push(token)
        if not text:
            return None
        return CallerText(text, max(0.0, (frame + 1) * FRAME_MS / 1000 - self._audio_delay_s))


WAITING_FRAMES = 12  # about a second; later words would be of little use


RECENT_STEPS = 9  # their median predicts the next step's time, and ignores outliers
DOUBT = 0.995  # factor on the prediction for each skipped frame, so that a step is tried eventually

DoInSpareTime = Callable[
    [Callable[[], object], Callable[[BaseException], None], Callable[[], float], Batch], None
]
MakeListener = Callable[[DoInSpareTime], "TranscriptionWorker"]
"""Begins one call's transcription."""

ListeningBatch = StepBatch[tuple[ListeningSession, Tokens], int]


def listening_batch(max_rows: int) -> ListeningBatch:
    """Create the batch that steps up to ``max_rows`` calls at once."""

    def step(parts: Sequence[tuple[ListeningSession, Tokens]]) -> list[int | Exception]:
        sessions, frames = zip(*parts, strict=True)
        return transcribe_together(sessions, frames)

    return StepBatch(step, max_rows)


@dataclass(frozen=True, slots=True)
class Heard:
    """Results since the last ``take``.

    Attributes:
        text: the caller's words.
        pause_probabilities: for the last frame; see ``DuplexStep``.
        step_ms: duration of the last step, or None if there was none.
    """

    text: tuple[CallerText, ...] = ()
    pause_probabilities: tuple[float, ...] = ()
    step_ms: float | None = None


class TranscriptionWorker:
    """Queues frames until the model's thread has spare time; drops the oldest when the queue is full.

    A failure of the model ends the transcription, not the call.

    Args:
        open_session: creates the session; called in the model's thread.
        words: converts its tokens to words.
        do_in_spare_time: runs work, its first argument, in the model's thread when no other job waits there
            or falls due before the work would end. It calls the second argument on failure, and the third
            for the expected duration in seconds. Work of one batch, the fourth, is combined across calls.
        steps: steps all waiting calls in one batch.
        silence: frames that the model reads before the caller's first
            (``stt_config.audio_silence_prefix_seconds``).
        final_silence: frames after the caller's last, in which the model writes the last words.
    """

    def __init__(
        self,
        open_session: Callable[[], ListeningSession],
        words: TimedTranscript,
        do_in_spare_time: DoInSpareTime,
        steps: ListeningBatch,
        silence: Sequence[Tokens] = (),
        *,
        final_silence: Sequence[Tokens] = (),
    ) -> None:
        self.untranscribed_frames = 0
        self._open_session = open_session
        self._session: ListeningSession | None = None  # used in the model's thread only
        self._words = words  # likewise
        self._do_in_spare_time = do_in_spare_time
        self._steps = steps
        # Guards all state below: frames come from the model's thread, take() from any.
        self._lock = threading.Lock()
        # Bounded by the limit below; overflow drops the oldest frame.
        self._waiting: deque[tuple[int, Tokens]] = deque()
        self._final_silence = final_silence
        self._limit_frames = WAITING_FRAMES + len(silence)  # the silence waits in the same queue at first
        self._text: list[CallerText] = []  # since the last take(), as are the two below
        self._pause_probabilities: tuple[float, ...] = ()  # of the last step
        self._step_ms: float | None = None  # its duration
        self._recent_ms: deque[float] = deque(maxlen=RECENT_STEPS)  # durations, to predict the next step's
        # Factor on the predicted duration; falls with each skipped frame until a step is tried.
        self._doubt = 1.0
        self._over = False  # ended or failed: no more frames are accepted
        self._last: tuple[int, Callable[[], object]] | None = None  # the last frame, and its callback
        self._log = call_logger()  # bound here, so that lines from the model's thread name the call
        for number, tokens in enumerate(silence, -len(silence)):
            self.hear(number, tokens)

    def hear(self, number: int, tokens: Tokens) -> None:
        """Queue the caller's frame of this number, uint32 ``[32]``. Does not block."""
        with self._lock:
            if self._over:
                return
            self._waiting.append((number, tokens))
            skipping = len(self._waiting) > self._limit_frames
            if skipping:
                self._waiting.popleft()
                self.untranscribed_frames += 1
                self._doubt *= DOUBT
        if not skipping:  # the dropped frame's job will process this one
            self._do_in_spare_time(self._part, self._fail, self._step_s, self._steps)
        elif self.untranscribed_frames == 1:
            self._log.warning("Transcription cannot keep up with the call: words will be missing.")

    def finish(self, number: int, finished: Callable[[], object]) -> None:
        """Queue the silence after the caller's last frame. Does not block.

        Args:
            number: number of the frame after the last one.
            finished: called once, from any thread, when all frames are read or the transcription ends early.
        """
        with self._lock:
            is_over = self._over or not len(self._final_silence)
            if not is_over:
                self._limit_frames += len(self._final_silence)
                self._last = (number + len(self._final_silence) - 1, finished)
        if is_over:
            finished()
        for place, tokens in enumerate(self._final_silence, number):
            self.hear(place, tokens)

    def take(self) -> Heard:
        """Return the results since the last call, from any thread."""
        with self._lock:
            heard = Heard(tuple(self._text), self._pause_probabilities, self._step_ms)
            self._text.clear()
            self._step_ms = None
        return heard

    def close(self) -> None:
        """Stop, and free the cache; in the model's thread. May be called twice."""
        self._end()
        if self._session is not None:
            self._session.close()

    def _part(self) -> BatchPart[tuple[ListeningSession, Tokens], int] | None:
        """Return this call's part of the next step; None if no frame waits."""
        with self._lock:
            if self._over or not self._waiting:
                return None
            number, tokens = self._waiting.popleft()
        is_first = self._session is None
        if self._session is None:
            self._session = self._open_session()
        heard = partial(self._heard, self._session, number, is_first)
        return BatchPart((self._session, tokens), heard, self._fail)

    def _heard(
        self, session: ListeningSession, number: int, is_first: bool, token: int, step_ms: float
    ) -> None:
        text = self._words.push(token, number)
        with self._lock:
            if text is not None:
                self._text.append(text)
            self._pause_probabilities = tuple(session.extra_heads[:, 0].tolist())
            self._step_ms = step_ms
            self._doubt = 1.0
            if not is_first:  # the first step also allocates the cache
                self._recent_ms.append(step_ms)
            is_last = self._last is not None and number == self._last[0]
        if is_last:
            self._tell_finished()

    def _step_s(self) -> float:
        with self._lock:
            if self._over:  # the remaining jobs do nothing: let the queue run them
                return 0.0
            return self._doubt * median(self._recent_ms) / 1000 if self._recent_ms else 0.0

    def _end(self) -> None:
        with self._lock:
            self._over = True
            self._waiting.clear()
        self._tell_finished()

    def _tell_finished(self) -> None:
        with self._lock:
            last, self._last = self._last, None
        if last is not None:
            last[1]()

    def _fail(self, reason: BaseException) -> None:
        self._end()
        self._log.error("The rest of this call is not listened to: {}", reason)
