"""A call's encoder and decoder, each in its own thread, with handovers during a long call."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from moshi_phone.audio.formats import FRAME_MS, Pcm
from moshi_phone.engines.moshi.codec.codec import Mimi
from moshi_phone.engines.moshi.codec.codec_pool import MimiPool
from moshi_phone.engines.moshi.codec.handover import Handover
from moshi_phone.engines.moshi.model.token_history import Tokens

# A spare's priming. Mimi attends to ten seconds in each layer: after twenty seconds all tokens are equal, and
# after ten the sound differs by -73 dB.
ENCODER_PRIMING_FRAMES = 20 * 1000 // FRAME_MS
DECODER_PRIMING_FRAMES = 10 * 1000 // FRAME_MS
MAX_HANDOVER_FRAMES = 60 * 1000 // FRAME_MS  # limit for a spare to catch up, a minute

FrameT = TypeVar("FrameT")
ResultT = TypeVar("ResultT")


class _StreamCodec(Generic[FrameT, ResultT]):
    """A codec in use for one direction of one call.

    Args:
        pool: provides the codec, and its successors in a long call.
        step: processes one frame.
        prime: processes several frames at once.
        priming_frames: number of last frames with which a spare is primed.
        first_share: share of the usual time after which the first handover is due.
    """

    def __init__(
        self,
        pool: MimiPool,
        step: Callable[[Mimi, FrameT], ResultT],
        prime: Callable[[Mimi, Sequence[FrameT]], object],
        *,
        priming_frames: int,
        first_share: float = 1.0,
    ) -> None:
        self.pool = pool
        self._step = step
        self._prime = prime
        self._mimi = pool.take()  # the one in use; replaced between two frames
        self._recent: deque[FrameT] = deque(maxlen=priming_frames)  # for priming a spare
        # Frames of the codec's life after which the next handover begins.
        self._due_at_frames = round(pool.handover_frames * first_share)
        self._handover: Handover[FrameT] | None = None  # in progress, or None
        self._handover_frames = 0  # since the handover began

    def release(self) -> None:
        """Return the codec to the pool. It must not be used again."""
        if self._handover is not None:
            self._handover.cancel()
        self.pool.give_back(self._mimi)

    def abandon(self) -> None:
        """Replace the codec: it hangs, and will never be released."""
        if self._handover is not None:
            self._handover.cancel()
        self.pool.lose(self._mimi)

    def _advance(self, frame: FrameT) -> ResultT:
        if self._handover is not None:
            self._finish_handover(self._handover)
        elif self._mimi.held_frames >= self._due_at_frames and (spare := self.pool.take_spare()) is not None:
            self._handover = Handover(self.pool, spare, self._recent, self._prime)
            self._handover_frames = 0
        if self._handover is not None:
            self._handover.push(frame)
            self._handover_frames += 1
        self._recent.append(frame)
        return self._step(self._mimi, frame)

    def _finish_handover(self, handover: Handover[FrameT]) -> None:
        if (successor := handover.take_over(self._mimi)) is not None:
            self._mimi = successor
            self._due_at_frames = self.pool.handover_frames
        elif handover.failed or self._handover_frames >= MAX_HANDOVER_FRAMES:
            if not handover.failed:
                handover.give_up()
            # Not at once: other calls may need the spare more.
            self._due_at_frames = self._mimi.held_frames + self.pool.handover_frames // 2
        else:
            return
        self._handover = None


class Encoder(_StreamCodec[Pcm, Tokens]):
    """Encodes the caller's audio.

    Args:
        pool: provides the codec, and its successors in a long call.

    Raises:
        EngineBusy: when no codec is free.
    """

    def __init__(self, pool: MimiPool) -> None:
        # Half a period before the decoder's, so that the two states do not peak at the same time.
        super().__init__(
            pool, Mimi.encode, Mimi.prime_encoder, priming_frames=ENCODER_PRIMING_FRAMES, first_share=0.5
        )

    def encode(self, pcm: Pcm) -> Tokens:
        """Encode float32 ``[1920]`` at 24 kHz to uint32 ``[codebooks of the pool]``."""
        return self._advance(pcm)


class Decoder(_StreamCodec[Tokens, Pcm]):
    """Decodes the bot's audio.

    Args:
        pool: provides the codec, and its successors in a long call.

    Raises:
        EngineBusy: when no codec is free.
    """

    def __init__(self, pool: MimiPool) -> None:
        super().__init__(pool, Mimi.decode, Mimi.prime_decoder, priming_frames=DECODER_PRIMING_FRAMES)

    def decode(self, tokens: Tokens) -> Pcm:
        """Decode uint32 ``[8]`` to float32 ``[1920]`` at 24 kHz."""
        return self._advance(tokens)


class CoderThread:
    """Runs a codec stage from the call's start to its end. Create it on the event loop.

    Args:
        name: the stage's name in errors, such as ``encoder``.
        coder: released in this thread after the work, so that no two threads ever use it.
        work: returns at the call's end.
        failed: called in this thread with an exception of the work.
        tell: runs a function on the event loop.

    Attributes:
        coder: the encoder or decoder; if it hangs, ``released`` is never set.
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
        self.released = asyncio.Event()  # set on the event loop, once the thread has released its codec
        self._name = name
        self._work = work
        self._failed = failed
        self._tell = tell
        # A daemon: a codec that hangs in Rust must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name=f"moshi-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self._failed(f"the {self._name}", error)
        finally:
            self.coder.release()
            self._tell(self.released.set)
