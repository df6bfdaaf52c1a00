"""Transcription beside a call: frames in, timed words out."""

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
    """One caller's words.

    Args:
        detokenizer: of the listening model's own tokens.
        audio_delay_s: how long after the sound the model writes (``stt_config.audio_delay_seconds``).
    """

    def __init__(self, detokenizer: Detokenizer, audio_delay_s: float) -> None:
        self._detokenizer = detokenizer
        self._audio_delay_s = audio_delay_s

    def push(self, token: int, frame: int) -> CallerText | None:
        """Give what a token adds, or None.

        Args:
            token: as ``ListeningSession.step`` gave it.
            frame: the number of the caller's frame that it was given for, from 0.
        """
        text = self._detokenizer.push(token)
        if not text:
            return None
        return CallerText(text, max(0.0, (frame + 1) * FRAME_MS / 1000 - self._audio_delay_s))


WAITING_FRAMES = 12  # about a second; words that came later than that would be of little use


RECENT_STEPS = 9  # whose median tells how long the next will take: a hiccup of the machine does not count
DOUBT = 0.995  # how much less it is thought to take with each frame that is skipped, until it is tried again

DoInSpareTime = Callable[
    [Callable[[], object], Callable[[BaseException], None], Callable[[], float], Batch], None
]
ListeningBatch = StepBatch[tuple[ListeningSession, Tokens], int]


def listening_batch(most_rows: int) -> ListeningBatch:
    """Make what listens to so many calls at once."""

    def step(parts: Sequence[tuple[ListeningSession, Tokens]]) -> list[int | Exception]:
        sessions, frames = zip(*parts, strict=True)
        return transcribe_together(sessions, frames)

    return StepBatch(step, most_rows)


@dataclass(frozen=True, slots=True)
class Heard:
    """What was made out since it was last asked for.

    Attributes:
        text: the caller's words.
        pause_probabilities: of the last frame; see ``DuplexStep``.
        step_ms: how long the last step took, or None where there was none.
    """

    text: tuple[CallerText, ...] = ()
    pause_probabilities: tuple[float, ...] = ()
    step_ms: float | None = None


class TranscriptionWorker:
    """Keeps frames until the model's thread has time for them, and drops the oldest where it has none.

    A model that fails ends the listening, not the call.

    Args:
        open_session: makes the listening session; called in the model's thread.
        words: makes words of its tokens.
        do_in_spare_time: runs work in the model's thread when nothing else waits there, or is due before
            it would be over; tells its second argument where the work failed, and asks the third how long
            it will take, in seconds. Work of one batch, the fourth, is done for several calls at once.
        steps: makes the steps of all calls that wait.
        silence: frames that the model wants to have heard before the caller's first
            (``stt_config.audio_silence_prefix_seconds``).
        final_silence: frames in which it writes what it has heard, after the caller's last.
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
        self._session: ListeningSession | None = None  # the model's thread's own
        self._words = words  # likewise
        self._do_in_spare_time = do_in_spare_time
        self._steps = steps
        # Guards what follows: frames come from the model's thread, reads from any.
        self._lock = threading.Lock()
        # Bounded by the limit below; the oldest goes first.
        self._waiting: deque[tuple[int, Tokens]] = deque()
        self._final_silence = final_silence
        self._limit_frames = WAITING_FRAMES + len(silence)
        self._text: list[CallerText] = []  # not taken yet, as are the two below
        self._pause_probabilities: tuple[float, ...] = ()
        self._step_ms: float | None = None
        self._recent_ms: deque[float] = deque(maxlen=RECENT_STEPS)
        # Factor on the expected duration; falls with each skipped frame, so that it is tried again.
        self._doubt = 1.0
        self._over = False  # ended or failed: nothing is taken any more
        self._last: tuple[int, Callable[[], object]] | None = None  # the last frame, and who waits for it
        self._log = call_logger()  # the lines of the model's thread, too
        for number, tokens in enumerate(silence, -len(silence)):
            self.hear(number, tokens)

    def hear(self, number: int, tokens: Tokens) -> None:
        """Take the caller's frame of this number, uint32 ``[32]``. Returns at once."""
        with self._lock:
            if self._over:
                return
            self._waiting.append((number, tokens))
            skipping = len(self._waiting) > self._limit_frames
            if skipping:
                self._waiting.popleft()
                self.untranscribed_frames += 1
                self._doubt *= DOUBT
        if not skipping:  # the work for the frame that was dropped will do this one
            self._do_in_spare_time(self._part, self._fail, self._step_s, self._steps)
        elif self.untranscribed_frames == 1:
            self._log.warning("This machine has no time to listen to all of the call: words will be missing.")

    def finish(self, number: int, finished: Callable[[], object]) -> None:
        """Take the silence after the caller's last frame. Returns at once.

        Args:
            number: of the frame after the last one.
            finished: called once, from any thread, when all has been read or the listening ends before.
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
        """Give what was made out since the last time, from any thread."""
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
        """Give this call's part in the next step; None where nothing waits any more."""
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
            if not is_first:  # which makes the cache
                self._recent_ms.append(step_ms)
            is_last = self._last is not None and number == self._last[0]
        if is_last:
            self._tell_finished()

    def _step_s(self) -> float:
        with self._lock:
            if (
                self._over
            ):  # nothing is left to do: or the queue would hold the work until nobody talks any more
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
