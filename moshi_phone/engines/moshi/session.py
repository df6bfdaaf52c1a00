"""One call with Moshi: a pipeline of three stages, so that the slowest sets the pace and not their sum.

    feed → backlog → [encoder thread] → [model thread, shared] → [decoder thread] → outputs

At most three frames are between the backlog and the outputs, one for each stage. That bounds every queue
between them without blocking; further frames wait in the backlog, which drops the oldest.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from moshi_phone.audio.formats import FRAME_MS, Pcm
from moshi_phone.engines.backlog import Backlog
from moshi_phone.engines.duplex import (
    LAST_WORDS_SECS,
    LISTEN,
    CallerText,
    DuplexSession,
    DuplexStep,
    EngineError,
    EngineFailed,
    check_frame,
)
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS
from moshi_phone.engines.moshi.codec.stream_codecs import CoderThread, Decoder, Encoder
from moshi_phone.engines.moshi.model.detokenizer import Detokenizer
from moshi_phone.engines.moshi.model.language_model import (
    NO_OVERRIDES,
    LanguageSession,
    LanguageStep,
    Overrides,
)
from moshi_phone.engines.moshi.model.speech_queue import SpeechQueue
from moshi_phone.engines.moshi.model.token_history import Tokens
from moshi_phone.engines.moshi.model_thread import Batch, Job, ModelThread
from moshi_phone.engines.moshi.step_batch import BatchPart, LanguageBatch, LanguagePart
from moshi_phone.engines.moshi.stt.worker import DoInSpareTime, Heard, TranscriptionWorker
from moshi_phone.engines.step_queue import StepQueue
from moshi_phone.runtime.call_log import call_logger
from moshi_phone.runtime.errors import first_line

STAGES = 3  # a frame in each: encoding, language model, decoding
NOTHING_HEARD = Heard()
CLOSE_GRACE_S = 1.0  # how long a codec may take for its last frame before it is given up


MakeListener = Callable[[DoInSpareTime], TranscriptionWorker]


@dataclass(slots=True)
class _Frame:
    """A frame on its way through the stages."""

    number: int
    caller_tokens: Tokens  # uint32 [8], or [32] where words are listened for
    timings_ms: dict[str, float] = field(default_factory=dict[str, float])


class SessionOwner(Protocol):
    """What a session needs of the engine it belongs to."""

    def watch(self) -> None:
        """Check whether the model's thread hangs; called with every frame."""

    def on_failed(self, session: MoshiSession, reason: str) -> None:
        """Record that a session failed; called from any thread."""

    def closed(self, session: MoshiSession, hung: Sequence[Encoder | Decoder]) -> None:
        """Record that a session was closed, and which of its codecs hang."""


class MoshiSession(DuplexSession):
    """See ``DuplexSession``; made by ``MoshiEngine.open_session`` within a running event loop.

    It begins at once, or when ``after`` is done: when its prompt has been read.

    Args:
        owner: the engine.
        model_thread: where the language model lives, that of all calls.
        steps: steps all waiting calls together.
        open_language: opens the model's session; called in the model's thread.
        encoder: the call's own, returned by ``close``.
        decoder: the call's own, returned by ``close``.
        detokenizer: the call's own.
        speech_queue: the words that it is given to say.
        patience_s: seconds after which a step of the model counts as hung.
        make_listener: begins the transcription; None without ``--listen``.
        after: the prefill that the session waits for.
    """

    def __init__(
        self,
        *,
        owner: SessionOwner,
        model_thread: ModelThread,
        steps: LanguageBatch,
        open_language: Callable[[], LanguageSession],
        encoder: Encoder,
        decoder: Decoder,
        detokenizer: Detokenizer,
        speech_queue: SpeechQueue,
        patience_s: float,
        make_listener: MakeListener | None = None,
        after: Future[Any] | None = None,
    ) -> None:
        # Set here and never changed, so that every thread may read them.
        self._owner = owner
        self._model_thread = model_thread
        self._steps_of_all = steps
        self._open_language = open_language
        # The model's thread makes and steps it; the others only test, under the lock, whether it exists.
        self._language: LanguageSession | None = None
        self._temperature: float | None = None  # set during the call; the model's thread's own
        self._detokenizer = detokenizer  # the decoder's thread's own
        self._speech_queue = speech_queue  # has a lock of its own
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self.log = call_logger()  # for lines that other threads write about this call
        self._changed = (
            threading.Condition()
        )  # guards what the event loop and the threads share, from here on
        self._backlog = Backlog()
        # Bounded by STAGES, which the encoder keeps to; None ends the decoder.
        self._to_decode: queue.SimpleQueue[tuple[_Frame, LanguageStep] | None] = queue.SimpleQueue()
        self._steps = StepQueue()  # the event loop's own: other threads go through _tell
        self._answered_frames = 0  # whose steps are on their way from the decoder's thread to the queue
        self._finished: Callable[[], object] | None = None  # set once the caller's last words are wanted
        # The two ends. Both are set under the lock and never unset.
        self._closed = False
        self._error: EngineFailed | None = None
        # Its feeding is the model's thread's; ``take`` may be called from any.
        self._listener = make_listener(self._submit_spare) if make_listener else None
        stage = partial(CoderThread, failed=self._fail, tell=self._tell)
        self._stages = (
            stage("encoder", encoder, partial(self._encode, encoder)),
            stage("decoder", decoder, partial(self._decode, decoder)),
        )
        if after is None:
            self._submit(self._begin)
        else:
            # In whichever thread finishes the prefill; submitting from there is safe.
            after.add_done_callback(lambda _: self._submit(self._begin))
        for one in self._stages:
            one.start()

    def feed(self, pcm: Pcm) -> None:
        """See ``DuplexSession``. Frames after the end are ignored: a call's last ones may be under way."""
        check_frame(pcm)
        with self._changed:
            if self._ended or self._finished is not None:
                return
            self._backlog.push(pcm)
            self._changed.notify_all()
        self._owner.watch()

    def outputs(self) -> AsyncIterator[DuplexStep]:
        """See ``DuplexSession``."""
        return self._steps.read()

    @property
    def listens(self) -> bool:
        """See ``DuplexSession``."""
        return self._listener is not None

    def say(self, text: str) -> None:
        """See ``DuplexSession``. The greeting comes first."""
        if not self._ended:
            self._speech_queue.say(text)

    def stop_saying(self) -> None:
        """See ``DuplexSession``."""
        self._speech_queue.stop()

    def set_temperature(self, temperature: float) -> None:
        """See ``DuplexSession``."""
        if temperature < 0:
            raise ValueError(f"expected a temperature of 0 or more, got {temperature:g}")
        if not self._ended:
            self._submit(partial(self._set_temperature, temperature))

    async def said(self) -> None:
        """See ``DuplexSession``."""
        await self._speech_queue.said()

    @property
    def backlog_frames(self) -> int:
        """See ``DuplexSession``."""
        with self._changed:
            return self._backlog.frames + self._answered_frames + len(self._steps)

    @property
    def dropped_frames(self) -> int:
        """See ``DuplexSession``."""
        return self._backlog.dropped_frames

    @property
    def untranscribed_frames(self) -> int:
        """See ``DuplexSession``."""
        return 0 if self._listener is None else self._listener.untranscribed_frames

    async def finish_listening(self) -> tuple[CallerText, ...]:
        """See ``DuplexSession``. The model transcribes with a delay: silence makes it emit the rest."""
        if self._listener is None:
            return ()
        finished = asyncio.Event()
        with self._changed:
            self._finished = partial(self._tell, finished.set)
            # Otherwise the encoder never reaches the end of the backlog: the wait would last its bound.
            may_wait = self._language is not None and not self._ended
            self._changed.notify_all()
        if may_wait:
            with suppress(TimeoutError):
                await asyncio.wait_for(finished.wait(), LAST_WORDS_SECS)
        unread = [text for step in self._steps.take_unread() for text in step.caller_text]
        return (*unread, *self._listener.take().text)

    async def close(self) -> None:
        """See ``DuplexSession``."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._steps.close()
        self._speech_queue.end()
        self._to_decode.put(None)  # the decoder's thread waits for this queue alone
        self._submit(self._forget)  # in the model's thread, where a step may be under way
        both = asyncio.gather(*(stage.released.wait() for stage in self._stages))
        try:
            # The codecs go back to the pool only when their threads have let go of them.
            await asyncio.wait_for(both, CLOSE_GRACE_S)
        except TimeoutError:
            pass
        finally:
            # A thread inside Rust cannot be stopped: the pool replaces its codec.
            hung = [stage.coder for stage in self._stages if not stage.released.is_set()]
            self._owner.closed(self, hung)

    # Runs in the model's thread, but for the submitting.

    def _submit(
        self, work: Callable[[], object], period_s: float | None = None, batch: Batch | None = None
    ) -> None:
        failed = partial(self._fail, "the model")
        self._model_thread.submit(Job(work, failed, self, self._patience_s, period_s, batch=batch))

    def _submit_spare(
        self,
        work: Callable[[], object],
        failed: Callable[[BaseException], None],
        needs_s: Callable[[], float] = lambda: 0.0,
        batch: Batch | None = None,
    ) -> None:
        job = Job(work, failed, self, self._patience_s, in_spare_time=True, needs_s=needs_s, batch=batch)
        self._model_thread.submit(job)

    def _begin(self) -> None:
        if self._ended:
            return
        try:
            language = self._open_language()
        except EngineError as error:  # its prompt could not be read: the model itself is sound
            self._fail("its persona", error, is_engine_sound=True)
            return
        if self._temperature is not None:
            language.set_temperature(self._temperature)
        with self._changed:
            self._language = language
            self._changed.notify_all()

    def _set_temperature(self, temperature: float) -> None:
        self._temperature = temperature
        if self._language is not None:
            self._language.set_temperature(temperature)

    def _forget(self) -> None:
        if self._language is not None:
            self._language.close()
        if self._listener is not None:
            self._listener.close()

    def _speak(self, frame: _Frame) -> BatchPart[LanguagePart, LanguageStep] | None:
        """Return this call's part in the next step; None once it has ended."""
        language = self._language
        if self._ended or language is None:
            return None
        # Forced text only while there are words to say: such a step is evaluated twice.
        overrides = (
            NO_OVERRIDES if self._speech_queue.is_over else Overrides(choose_text=self._speech_queue.decide)
        )
        return BatchPart(
            (language, frame.caller_tokens[:CODEBOOKS], overrides),
            partial(self._spoke, frame),
            partial(self._fail, "the model"),
        )

    def _spoke(self, frame: _Frame, step: LanguageStep, step_ms: float) -> None:
        frame.timings_ms["language"] = step_ms
        self._to_decode.put((frame, step))
        if self._listener is not None:
            self._listener.hear(frame.number, frame.caller_tokens)

    # Runs in the codecs' threads.

    def _encode(self, encoder: Encoder) -> None:
        for taken in itertools.count():
            with self._changed:
                self._changed.wait_for(self._can_encode)
                if self._ended:
                    return
                dropped = self._backlog.dropped_frames
                if self._finished is not None and not self._backlog.waiting_frames:
                    break
                # Taken under the lock, encoded outside it: ``feed`` must not wait for a codec.
                pcm = self._backlog.take()
            began = time.perf_counter()
            # Dropped frames are numbered too: the times of the caller's words come from these numbers.
            frame = _Frame(taken + dropped, encoder.encode(pcm))
            frame.timings_ms["encode"] = _ms_since(began)
            # A period, so that spare-time work leaves room for this call's next frame.
            self._submit(partial(self._speak, frame), FRAME_MS / 1000, self._steps_of_all)
        if self._listener is not None and self._finished is not None:
            # Through the model's thread, behind the caller's own frames.
            self._submit(partial(self._listener.finish, taken + dropped, self._finished))

    def _can_encode(self) -> bool:
        """Frames wait, for as long as a backlog may, until the conversation has begun."""
        begun = self._language is not None
        room = self._backlog.taken_frames < STAGES
        wanted = self._backlog.waiting_frames > 0 or self._finished is not None
        return self._ended or (begun and room and wanted)

    def _decode(self, decoder: Decoder) -> None:
        while (item := self._to_decode.get()) is not None:
            frame, step = item
            began = time.perf_counter()
            pcm = None if step.audio_tokens is None else decoder.decode(step.audio_tokens)
            frame.timings_ms["decode"] = _ms_since(began)
            # At the end, words must not go into a step that nobody reads.
            listener = self._listener if self._finished is None else None
            heard = NOTHING_HEARD if listener is None else listener.take()
            if heard.step_ms is not None:
                frame.timings_ms[LISTEN] = heard.step_ms
            with self._changed:
                # Handed over on the loop; ``_answered_frames`` counts it until then.
                self._backlog.answered()
                self._answered_frames += 1
                self._changed.notify_all()
            text = self._detokenizer.push(step.text_token)
            answer = DuplexStep(pcm, text, frame.timings_ms, heard.text, heard.pause_probabilities)
            self._tell(partial(self._give, answer))

    @property
    def _ended(self) -> bool:
        return self._closed or self._error is not None

    def _give(self, step: DuplexStep) -> None:
        with self._changed:
            self._answered_frames -= 1
        self._steps.push(step)
        self._speech_queue.step_given()

    def _fail(self, where: str, reason: BaseException, *, is_engine_sound: bool = False) -> None:
        """End the session, from any thread; steps made before still come out."""
        with self._changed:
            if self._ended:
                return
            why = first_line(reason)  # rustymimi's messages include a backtrace
            self._error = error = EngineFailed(f"This call ended because {where} failed: {why}")
            error.__cause__ = reason
            self._changed.notify_all()
        self._to_decode.put(None)
        if not is_engine_sound:
            self._owner.on_failed(self, str(error))
        # Behind the steps that are already on their way to the loop, which are still played.
        self._tell(partial(self._steps.fail, error))
        self._tell(self._speech_queue.end)

    def _tell(self, what: Callable[[], object]) -> None:
        """Run a function on the event loop, unless the loop is closed at the program's end."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
