"""A call's encoder and decoder, each in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from moshi_phone.audio.formats import FRAME_MS, Pcm
from moshi_phone.audio.silence import is_silent
from moshi_phone.engines.duplex import EngineFailed
from moshi_phone.engines.moshi.codec.codec import Mimi
from moshi_phone.engines.moshi.codec.codec_pool import MimiPool
from moshi_phone.engines.moshi.model.token_history import Tokens
from moshi_phone.runtime.errors import first_line

NOTICE_FRAMES = 60 * 1000 // FRAME_MS  # a fresh one is wanted a minute ahead, to have time for silence
PRIMING_FRAMES = 4  # what a fresh one is given before it takes over; its convolutions reach back 3.5
CLEANING_FRAMES = 1  # kept back: a call that ends gives its codec back, and cleaning takes a frame


class _Renewable:
    """A codec in use for one direction of one call."""

    def __init__(self, pool: MimiPool) -> None:
        self.pool = pool
        self._mimi = pool.take()
        self._next: Future[Mimi] | None = None
        self._renew_at_frames = min(NOTICE_FRAMES, pool.limit_frames // 2)

    def release(self) -> None:
        """Give it back to the pool. It must not be used again."""
        self.pool.give_back(self._mimi)

    def _renew(self, *, silent: bool, prime: Callable[[Mimi], object]) -> None:
        """Change to a fresh one when the limit is near: in silence, or else at the limit itself.

        Args:
            silent: whether this is a good moment.
            prime: brings the fresh one up to the present frame.
        """
        if self._mimi.left_frames > self._renew_at_frames:
            return
        if self._next is None:
            self._next = self.pool.load_async()
        last_moment = self._mimi.left_frames <= CLEANING_FRAMES
        if not last_moment and not (silent and self._next.done()):
            return
        fresh, self._next = self._next, None
        try:
            mimi = fresh.result()
        except Exception as error:
            if last_moment:
                raise EngineFailed(
                    f"Mimi could not be loaded anew for a long call: {first_line(error)}"
                ) from error
            # Again after half of the time that is left, and not with every frame: loading takes a second.
            self._renew_at_frames = self._mimi.left_frames // 2
            return
        prime(mimi)
        self._mimi = mimi
        self._renew_at_frames = min(NOTICE_FRAMES, self.pool.limit_frames // 2)


class Encoder(_Renewable):
    """Turns the caller's sound into tokens.

    Args:
        pool: gives it its codec, and each that follows in a long call.

    Raises:
        EngineBusy: when the pool has none.
    """

    def __init__(self, pool: MimiPool) -> None:
        super().__init__(pool)
        self._recent: deque[Pcm] = deque(maxlen=PRIMING_FRAMES)

    def encode(self, pcm: Pcm) -> Tokens:
        """Encode float32 ``[1920]`` at 24 kHz to uint32 ``[codebooks of the pool]``.

        Raises:
            EngineFailed: when its codec is used up, and no other could be loaded.
        """
        self._renew(silent=is_silent(pcm), prime=lambda mimi: [mimi.encode(frame) for frame in self._recent])
        self._recent.append(pcm)
        return self._mimi.encode(pcm)


class Decoder(_Renewable):
    """Turns tokens into sound.

    Args:
        pool: gives it its codec, and each that follows in a long call.

    Raises:
        EngineBusy: when the pool has none.
    """

    def __init__(self, pool: MimiPool) -> None:
        super().__init__(pool)
        self._recent: deque[Tokens] = deque(maxlen=PRIMING_FRAMES)
        self._silent = True

    def decode(self, tokens: Tokens) -> Pcm:
        """Decode uint32 ``[8]`` to float32 ``[1920]`` at 24 kHz.

        Raises:
            EngineFailed: when its codec is used up, and no other could be loaded.
        """
        self._renew(silent=self._silent, prime=lambda mimi: [mimi.decode(frame) for frame in self._recent])
        self._recent.append(tokens)
        pcm = self._mimi.decode(tokens)
        self._silent = is_silent(pcm)
        return pcm


class CoderThread:
    """Runs a stage from the call's start to its end. Made on the event loop.

    Args:
        name: of the stage, as it is told of: ``encoder``.
        coder: released in this thread when the work is over, so that no two threads ever use it.
        work: returns at the call's end.
        failed: called in this thread with what the work raised.
        tell: runs something on the event loop.

    Attributes:
        coder: may hang in the work for ever: then ``released`` never comes.
        released: set when the codec is back in its pool, clean.
    """

    def __init__(
        self,
        name: str,
        coder: Encoder | Decoder,
        work: Callable[[], None],
        *,
        failed: Callable[[str, Exception], None],
        tell: Callable[[Callable[[], object]], None],
    ) -> None:
        self.coder = coder
        self.released = asyncio.Event()
        self._name = name
        self._work = work
        self._failed = failed
        self._tell = tell
        # A daemon: a codec that hangs in Rust must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name=f"moshi-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self._failed(f"the {self._name}", error)
        finally:
            self.coder.release()
            self._tell(self.released.set)
