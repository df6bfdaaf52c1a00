"""A call's listening: in the time that the talk leaves of the model's thread, and never in its way."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loguru import logger

from engines.duplex import CallerText
from engines.moshi.caller_words import CallerWords
from engines.moshi.listening import ListeningSession
from engines.moshi.token_history import Tokens

WAITING_FRAMES = 12  # about a second; words that came later than that would be of little use


DoInSpareTime = Callable[[Callable[[], None], Callable[[BaseException], None]], None]


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


class Listener:
    """Keeps frames until the model's thread has time for them, and drops the oldest where it has none.

    A model that fails ends the listening, not the call.

    Args:
        open_session: makes the listening session; called in the model's thread.
        words: makes words of its tokens.
        do_in_spare_time: runs work in the model's thread when nothing else waits there, and tells its
            second argument where the work failed.
        silence: frames that the model wants to have heard before the caller's first
            (``stt_config.audio_silence_prefix_seconds``).
    """

    def __init__(
        self,
        open_session: Callable[[], ListeningSession],
        words: CallerWords,
        do_in_spare_time: DoInSpareTime,
        silence: Sequence[Tokens] = (),
    ) -> None:
        self.skipped_frames = 0
        self._open_session = open_session
        self._session: ListeningSession | None = None
        self._words = words
        self._do_in_spare_time = do_in_spare_time
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, Tokens]] = deque()
        self._limit_frames = WAITING_FRAMES + len(silence)
        self._text: list[CallerText] = []
        self._pause_probabilities: tuple[float, ...] = ()
        self._step_ms: float | None = None
        self._over = False
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
                self.skipped_frames += 1
        if not skipping:  # the work for the frame that was dropped will do this one
            self._do_in_spare_time(self._step, self._fail)
        elif self.skipped_frames == 1:
            logger.warning("This machine has no time to listen to all of the call: words will be missing.")

    def take(self) -> Heard:
        """Give what was made out since the last time, from any thread."""
        with self._lock:
            heard = Heard(tuple(self._text), self._pause_probabilities, self._step_ms)
            self._text.clear()
            self._step_ms = None
        return heard

    def close(self) -> None:
        """Stop, and free the cache; in the model's thread. May be called twice."""
        with self._lock:
            self._over = True
            self._waiting.clear()
        if self._session is not None:
            self._session.close()

    def _step(self) -> None:
        with self._lock:
            if self._over or not self._waiting:
                return
            number, tokens = self._waiting.popleft()
        began_s = time.perf_counter()
        if self._session is None:
            self._session = self._open_session()
        token = self._session.step(tokens)
        step_ms = (time.perf_counter() - began_s) * 1000
        text = self._words.push(token, number)
        with self._lock:
            if text is not None:
                self._text.append(text)
            self._pause_probabilities = tuple(self._session.extra_heads[:, 0].tolist())
            self._step_ms = step_ms

    def _fail(self, reason: BaseException) -> None:
        with self._lock:
            self._over = True
            self._waiting.clear()
        logger.error("The rest of this call is not listened to: {}", reason)
