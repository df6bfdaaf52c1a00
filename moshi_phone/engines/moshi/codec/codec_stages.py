"""The two codec stages of one call, and the frames in flight between them and the model.

    push → backlog → [encoder thread] → encoded … the model … decode → [decoder thread] → give

At most three frames are between the backlog and ``give``, one for each stage. That bounds every queue
between them without blocking; further frames wait in the backlog, which drops the oldest.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from moshi_phone.audio.formats import Pcm
from moshi_phone.engines.backlog import Backlog
from moshi_phone.engines.duplex_types import DuplexStep
from moshi_phone.engines.moshi.codec.stream_codecs import CoderThread, Decoder, Encoder
from moshi_phone.engines.moshi.model.language_model import LanguageStep
from moshi_phone.engines.moshi.model.token_history import Tokens

STAGES = 3  # a frame in each: encoding, language model, decoding
CLOSE_GRACE_S = 1.0  # time limit of a codec's last frame, after which the codec is abandoned


@dataclass(slots=True)
class CallerFrame:
    """A frame in the stages.

    Attributes:
        number: of the caller's frames since the session's first; dropped ones are counted too.
        caller_tokens: uint32 ``[8]``, or ``[32]`` with transcription.
        timings_ms: how long each stage took, by its name.
    """

    number: int
    caller_tokens: Tokens
    timings_ms: dict[str, float] = field(default_factory=dict[str, float])


class CodecStages:
    """Encodes the caller's frames and decodes the model's steps, each in its own thread.

    Args:
        encoder: the call's own.
        decoder: the call's own.
        encoded: receives each encoded frame; called in the encoder's thread.
        answer: creates a step from a frame, the model's result and its sound, float32 ``[1920]`` or None;
            called in the decoder's thread.
        give: receives each step, on the event loop.
        failed: called in a codec's thread with the name of its stage and its exception.
        tell: runs a function on the event loop.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        *,
        encoded: Callable[[CallerFrame], None],
        answer: Callable[[CallerFrame, LanguageStep, Pcm | None], DuplexStep],
        give: Callable[[DuplexStep], None],
        failed: Callable[[str, Exception], None],
        tell: Callable[[Callable[[], object]], None],
    ) -> None:
        # Set here and never changed, so that every thread may read them.
        self._encoded = encoded
        self._answer = answer
        self._give_step = give
        self._tell = tell
        # Bounded by STAGES, which the encoder keeps to; None ends the decoder.
        self._to_decode: queue.SimpleQueue[tuple[CallerFrame, LanguageStep] | None] = queue.SimpleQueue()
        # Guards everything below, which the event loop, the codecs' threads and the model's share.
        self._changed = threading.Condition()
        self._backlog = Backlog()  # frames that are not decoded yet
        self._answered_frames = 0  # whose steps are between the decoder's thread and ``give``
        self._begun = False  # whether the model's session exists
        self._ended = False  # never unset
        self._on_last: Callable[[int], None] | None = None  # set when no more frames are accepted
        stage = partial(CoderThread, failed=failed, tell=tell)
        self._threads = (
            stage("encoder", encoder, partial(self._encode, encoder)),
            stage("decoder", decoder, partial(self._decode, decoder)),
        )

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def begin(self) -> None:
        """Start processing frames: the model's session exists. Until then they wait in the backlog."""
        with self._changed:
            self._begun = True
            self._changed.notify_all()

    def push(self, pcm: Pcm) -> bool:
        """Add a frame of the caller; return whether it was accepted: not after ``finish`` or ``end``."""
        with self._changed:
            if self._ended or self._on_last is not None:
                return False
            self._backlog.push(pcm)
            self._changed.notify_all()
        return True

    def decode(self, frame: CallerFrame, step: LanguageStep) -> None:
        """Pass on the model's answer to a frame. Called in the model's thread."""
        self._to_decode.put((frame, step))

    def finish(self, on_last: Callable[[int], None]) -> bool:
        """Accept no more frames, and report when the last one has been encoded.

        Args:
            on_last: called in the encoder's thread with the number of frames, dropped ones included.

        Returns:
            Whether ``on_last`` will be called.
        """
        with self._changed:
            self._on_last = on_last
            self._changed.notify_all()
            # Otherwise the encoder never reaches the end of the backlog.
            return self._begun and not self._ended

    def end(self) -> bool:
        """End both threads after the frames that they have; return whether this is the first time."""
        with self._changed:
            if self._ended:
                return False
            self._ended = True
            self._changed.notify_all()
        self._to_decode.put(None)  # the decoder's thread waits for this queue alone
        return True

    async def wait_released(self) -> None:
        """Wait until both codecs are back in their pool; for a second at most, because one may hang."""
        both = asyncio.gather(*(thread.released.wait() for thread in self._threads))
        with suppress(TimeoutError):
            await asyncio.wait_for(both, CLOSE_GRACE_S)

    @property
    def hung(self) -> list[Encoder | Decoder]:
        """The codecs still held by their threads; after ``wait_released``, these hang."""
        # A thread inside Rust cannot be stopped: the pool replaces its codec.
        return [thread.coder for thread in self._threads if not thread.released.is_set()]

    @property
    def frames(self) -> int:
        """Frames that were pushed and have neither been dropped nor given."""
        with self._changed:
            return self._backlog.frames + self._answered_frames

    @property
    def dropped_frames(self) -> int:
        """Frames that were dropped because the backlog was full."""
        return self._backlog.dropped_frames

    @property
    def is_ended(self) -> bool:
        """Whether ``end`` was called."""
        return self._ended

    @property
    def is_finishing(self) -> bool:
        """Whether ``finish`` was called."""
        return self._on_last is not None

    def _encode(self, encoder: Encoder) -> None:
        for taken in itertools.count():
            with self._changed:
                self._changed.wait_for(self._can_encode)
                if self._ended:
                    return
                dropped = self._backlog.dropped_frames
                if not self._backlog.waiting_frames:
                    break  # for ``finish``
                # Taken under the lock, encoded outside it: ``push`` must not wait for a codec.
                pcm = self._backlog.take()
            began_s = time.perf_counter()
            # Dropped frames are numbered too: the times of the caller's words come from these numbers.
            frame = CallerFrame(taken + dropped, encoder.encode(pcm))
            frame.timings_ms["encode"] = _ms_since(began_s)
            self._encoded(frame)
        # Outside the lock: it submits work to the model's thread.
        if self._on_last is not None:
            self._on_last(taken + dropped)

    def _can_encode(self) -> bool:
        room = self._backlog.taken_frames < STAGES
        wanted = self._backlog.waiting_frames > 0 or self._on_last is not None
        return self._ended or (self._begun and room and wanted)

    def _decode(self, decoder: Decoder) -> None:
        while (item := self._to_decode.get()) is not None:
            frame, step = item
            began_s = time.perf_counter()
            pcm = None if step.audio_tokens is None else decoder.decode(step.audio_tokens)
            frame.timings_ms["decode"] = _ms_since(began_s)
            answer = self._answer(frame, step, pcm)
            with self._changed:
                # Given on the event loop; ``_answered_frames`` counts it until then.
                self._backlog.answered()
                self._answered_frames += 1
                self._changed.notify_all()
            self._tell(partial(self._give, answer))

    def _give(self, step: DuplexStep) -> None:
        with self._changed:
            self._answered_frames -= 1
        self._give_step(step)


def _ms_since(began_s: float) -> float:
    return (time.perf_counter() - began_s) * 1000
