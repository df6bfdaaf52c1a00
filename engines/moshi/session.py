"""One call with Moshi: three stages in a line, so that the slowest sets the pace and not their sum.

    feed → backlog → [encoder thread] → [model thread, shared] → [decoder thread] → outputs

At most three frames are between the backlog and the outputs, one for each stage. That bounds every queue
on the way without any of them having to block; what comes in beyond that waits in the backlog, which
drops the oldest.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from audio.formats import FRAME_MS, Pcm
from engines.backlog import Backlog
from engines.duplex import LISTEN, DuplexSession, DuplexStep, EngineError, EngineFailed, check_frame
from engines.moshi.codec import CODEBOOKS, Decoder, Encoder
from engines.moshi.detokenizer import Detokenizer
from engines.moshi.language_model import LanguageSession, LanguageStep
from engines.moshi.listener import DoInSpareTime, Heard, Listener
from engines.moshi.model_thread import Job, ModelThread
from engines.moshi.steering import Steering, Word
from engines.moshi.token_history import Tokens

STAGES = 3
UNREAD_STEPS = 64  # 5 s of steps that nobody iterates over; then the oldest are dropped
NOTHING_HEARD = Heard()
CLOSE_GRACE_S = 1.0  # how long a codec may take for its last frame before it is given up


MakeListener = Callable[[DoInSpareTime], Listener]


@dataclass(slots=True)
class _Frame:
    """A frame on its way through the stages."""

    number: int
    caller_tokens: Tokens  # uint32 [8], or [32] where words are listened for
    timings_ms: dict[str, float] = field(default_factory=dict[str, float])


class SessionOwner(Protocol):
    """What a session needs of the engine it belongs to."""

    def watch(self) -> None:
        """Look whether the model's thread hangs; called with every frame."""

    def on_failed(self, session: MoshiSession, reason: str) -> None:
        """Hear that a session broke, from whichever thread it broke in."""

    def closed(self, session: MoshiSession, hung: Sequence[Encoder | Decoder]) -> None:
        """Hear that a session was closed, and which of its codecs hang."""


class MoshiSession(DuplexSession):
    """See ``DuplexSession``; made by ``MoshiEngine.open_session`` within a running event loop.

    It begins at once, or else after ``after`` is done: when its prompt has been read.
    """

    def __init__(
        self,
        *,
        owner: SessionOwner,
        model_thread: ModelThread,
        open_language: Callable[[], LanguageSession],
        encoder: Encoder,
        decoder: Decoder,
        detokenizer: Detokenizer,
        steering: Steering,
        spell: Callable[[str], list[Word]],
        patience_s: float,
        make_listener: MakeListener | None = None,
        after: Future[Any] | None = None,
    ) -> None:
        self._owner = owner
        self._model_thread = model_thread
        self._open_language = open_language
        self._language: LanguageSession | None = None
        self._detokenizer = detokenizer
        self._steering = steering
        self._spell = spell
        self._said = asyncio.Event()
        self._said.set()
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._backlog = Backlog()
        self._to_decode: queue.SimpleQueue[tuple[_Frame, LanguageStep] | None] = queue.SimpleQueue()
        self._steps: deque[DuplexStep] = deque()
        self._unread_steps = 0  # those in the deque, and those that are on their way to it
        self._news = asyncio.Event()
        self._closed = False
        self._error: EngineFailed | None = None
        self._listener = make_listener(self._submit_spare) if make_listener else None
        self._coders: list[tuple[Encoder | Decoder, asyncio.Event]] = [
            (encoder, asyncio.Event()),
            (decoder, asyncio.Event()),
        ]
        if after is None:
            self._submit(self._begin)
        else:
            after.add_done_callback(lambda _: self._submit(self._begin))
        works = (("encode", partial(self._encode, encoder)), ("decode", partial(self._decode, decoder)))
        # Daemons: a codec that hangs in Rust must not keep the program from ending.
        for (name, work), (coder, released) in zip(works, self._coders, strict=True):
            threading.Thread(
                target=self._stage, args=(name, work, coder, released), name=f"moshi-{name}", daemon=True
            ).start()

    def feed(self, pcm: Pcm) -> None:
        """See ``DuplexSession``. Frames after the end are let go: a call's last ones may be underway."""
        check_frame(pcm)
        with self._changed:
            if self._closed or self._error is not None:
                return
            self._backlog.push(pcm)
            self._changed.notify_all()
        self._owner.watch()

    async def outputs(self) -> AsyncIterator[DuplexStep]:
        """See ``DuplexSession``."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._steps and not self._closed:
                step = self._steps.popleft()
                self._count_read()
                yield step
            if self._closed:
                return
            if self._error is not None:
                raise self._error

    def say(self, text: str) -> None:
        """See ``DuplexSession``. What a call opens with is said first."""
        words = self._spell(text)
        with self._changed:
            if not self._ended:
                self._steering.say(words)
                self._said.clear()

    async def said(self) -> None:
        """See ``DuplexSession``."""
        await self._said.wait()

    @property
    def backlog_frames(self) -> int:
        """See ``DuplexSession``."""
        with self._changed:
            return self._backlog.frames + self._unread_steps

    @property
    def dropped_frames(self) -> int:
        """See ``DuplexSession``."""
        return self._backlog.dropped_frames

    @property
    def skipped_frames(self) -> int:
        """See ``DuplexSession``."""
        return 0 if self._listener is None else self._listener.skipped_frames

    async def close(self) -> None:
        """See ``DuplexSession``."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._news.set()
        self._said.set()
        self._to_decode.put(None)  # the decoder's thread waits for this queue alone
        self._submit(self._forget)  # in the model's thread, where a step may be under way
        both = asyncio.gather(*(released.wait() for _, released in self._coders))
        try:
            await asyncio.wait_for(both, CLOSE_GRACE_S)
        except TimeoutError:
            pass
        finally:
            self._owner.closed(self, [coder for coder, released in self._coders if not released.is_set()])

    # The model's thread.

    def _submit(self, work: Callable[[], None], period_s: float | None = None) -> None:
        failed = partial(self._fail, "the model")
        self._model_thread.submit(Job(work, failed, self, self._patience_s, period_s))

    def _submit_spare(
        self,
        work: Callable[[], None],
        failed: Callable[[BaseException], None],
        needs_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        job = Job(work, failed, self, self._patience_s, in_spare_time=True, needs_s=needs_s)
        self._model_thread.submit(job)

    def _begin(self) -> None:
        if self._ended:
            return
        try:
            language = self._open_language()
        except EngineError as error:  # its prompt could not be read: no fault of the model's
            self._fail("its persona", error, is_engine_sound=True)
            return
        with self._changed:
            self._language = language
            self._changed.notify_all()

    def _forget(self) -> None:
        if self._language is not None:
            self._language.close()
        if self._listener is not None:
            self._listener.close()

    def _speak(self, frame: _Frame) -> None:
        language = self._language
        if self._ended or language is None:
            return
        began = time.perf_counter()
        caller_tokens = frame.caller_tokens[:CODEBOOKS]
        step = language.step(caller_tokens, steer=None if self._steering.done else self._steer)
        frame.timings_ms["language"] = _ms_since(began)
        self._to_decode.put((frame, step))
        if self._listener is not None:
            self._listener.hear(frame.number, frame.caller_tokens)

    def _steer(self, drawn: int) -> int:
        with self._changed:
            return self._steering.decide(drawn)

    # The codec's threads.

    def _stage(
        self, name: str, work: Callable[[], None], coder: Encoder | Decoder, released: asyncio.Event
    ) -> None:
        try:
            work()
        except Exception as error:
            self._fail(f"the {name}r", error)
        finally:
            coder.release()
            self._tell(released.set)

    def _encode(self, encoder: Encoder) -> None:
        for taken in itertools.count():
            with self._changed:
                self._changed.wait_for(self._can_encode)
                if self._ended:
                    return
                pcm, dropped = self._backlog.take(), self._backlog.dropped_frames
            began = time.perf_counter()
            # Numbered with those that were dropped: the caller's words get their times by it.
            frame = _Frame(taken + dropped, encoder.encode(pcm))
            frame.timings_ms["encode"] = _ms_since(began)
            self._submit(partial(self._speak, frame), FRAME_MS / 1000)

    def _can_encode(self) -> bool:
        """Frames wait, for as long as a backlog may, until the conversation has begun."""
        begun = self._language is not None
        room = self._backlog.taken_frames < STAGES
        return self._ended or (begun and room and self._backlog.waiting_frames > 0)

    def _decode(self, decoder: Decoder) -> None:
        while (item := self._to_decode.get()) is not None:
            frame, step = item
            began = time.perf_counter()
            pcm = None if step.audio_tokens is None else decoder.decode(step.audio_tokens)
            frame.timings_ms["decode"] = _ms_since(began)
            heard = NOTHING_HEARD if self._listener is None else self._listener.take()
            if heard.step_ms is not None:
                frame.timings_ms[LISTEN] = heard.step_ms
            with self._changed:
                self._backlog.answered()
                self._unread_steps += 1
                self._changed.notify_all()
            text = self._detokenizer.push(step.text_token)
            answer = DuplexStep(pcm, text, frame.timings_ms, heard.text, heard.pause_probabilities)
            self._tell(partial(self._give, answer))

    # The ends.

    @property
    def _ended(self) -> bool:
        return self._closed or self._error is not None

    def _give(self, step: DuplexStep) -> None:
        if len(self._steps) == UNREAD_STEPS:
            self._steps.popleft()
            self._count_read()
        self._steps.append(step)
        self._news.set()
        if not self._said.is_set():
            with self._changed:
                if self._steering.done:
                    self._said.set()

    def _count_read(self) -> None:
        with self._changed:
            self._unread_steps -= 1

    def _fail(self, where: str, reason: BaseException, *, is_engine_sound: bool = False) -> None:
        """End the conversation, from any thread; what was said before still comes out."""
        with self._changed:
            if self._ended:
                return
            lines = str(reason).splitlines() or [type(reason).__name__]  # rustymimi's go on with a backtrace
            self._error = EngineFailed(f"This call ended because {where} failed: {lines[0]}")
            self._error.__cause__ = reason
            self._changed.notify_all()
        self._to_decode.put(None)
        if not is_engine_sound:
            self._owner.on_failed(self, str(self._error))
        self._tell(self._news.set)
        self._tell(self._said.set)

    def _tell(self, what: Callable[[], object]) -> None:
        """Run something on the event loop, unless the program is ending and the loop is gone."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
