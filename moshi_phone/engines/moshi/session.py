"""One call with Moshi: a pipeline of three stages, so that the slowest one limits the pace, not their sum.

    feed → backlog → [encoder thread] → [model thread, shared] → [decoder thread] → outputs

``codec/codec_stages.py`` has the first and the last stage; this module has the model's, and both ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from moshi_phone.audio.formats import FRAME_MS, Pcm
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
from moshi_phone.engines.moshi.codec.codec_stages import CallerFrame, CodecStages
from moshi_phone.engines.moshi.codec.stream_codecs import Decoder, Encoder
from moshi_phone.engines.moshi.model.detokenizer import Detokenizer
from moshi_phone.engines.moshi.model.language_model import (
    NO_OVERRIDES,
    LanguageSession,
    LanguageStep,
    Overrides,
)
from moshi_phone.engines.moshi.model.speech_queue import SpeechQueue
from moshi_phone.engines.moshi.model_thread import Batch, Job, ModelThread
from moshi_phone.engines.moshi.step_batch import BatchPart, LanguageBatch, LanguagePart
from moshi_phone.engines.moshi.stt.worker import Heard, MakeListener
from moshi_phone.engines.step_queue import StepQueue
from moshi_phone.runtime.call_log import call_logger
from moshi_phone.runtime.errors import first_line


class SessionOwner(Protocol):
    """The engine's interface for its sessions."""

    def watch(self) -> None:
        """Check whether the model's thread hangs; called with every frame."""

    def on_failed(self, session: MoshiSession, reason: str) -> None:
        """Record that a session failed; called from any thread."""

    def on_closed(self, session: MoshiSession, hung: Sequence[Encoder | Decoder]) -> None:
        """Record that a session was closed, and which of its codecs hang."""


class MoshiSession(DuplexSession):
    """See ``DuplexSession``; made by ``MoshiEngine.open_session`` within a running event loop.

    It starts at once, or when ``after`` is done: when its prompt has been prefilled.

    Args:
        owner: the engine.
        model_thread: runs the language model, for all calls.
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
        self._language: LanguageSession | None = None  # the model's thread makes and steps it
        self._temperature: float | None = None  # set during the call; used in the model's thread only
        self._detokenizer = detokenizer  # used in the decoder's thread only
        self._speech_queue = speech_queue  # has a lock of its own
        self._patience_s, self._loop = patience_s, asyncio.get_running_loop()
        self.log = call_logger()  # for log lines of this call in other threads
        self._steps = StepQueue()  # used on the event loop only: other threads use _tell
        self._closed = False
        # Fed in the model's thread only; ``take`` may be called from any thread.
        self._listener = make_listener(self._submit_spare) if make_listener else None
        self._stages = CodecStages(  # has a lock of its own
            encoder,
            decoder,
            encoded=self._encoded,
            answer=self._answer,
            give=self._give,
            failed=self._fail,
            tell=self._tell,
        )
        if after is None:
            self._submit(self._begin)
        else:
            # Runs in the thread that finishes the prefill, where submitting is safe.
            after.add_done_callback(lambda _: self._submit(self._begin))
        self._stages.start()

    def feed(self, pcm: Pcm) -> None:
        """See ``DuplexSession``. Frames after the end are ignored: some may still be in flight."""
        if self._stages.push(check_frame(pcm)):
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
        if not self._stages.is_ended:
            self._speech_queue.say(text)

    def stop_saying(self) -> None:
        """See ``DuplexSession``."""
        self._speech_queue.stop()

    def set_temperature(self, temperature: float) -> None:
        """See ``DuplexSession``."""
        if temperature < 0:
            raise ValueError(f"expected a temperature of 0 or more, got {temperature:g}")
        if not self._stages.is_ended:
            self._submit(partial(self._set_temperature, temperature))

    async def said(self) -> None:
        """See ``DuplexSession``."""
        await self._speech_queue.said()

    @property
    def backlog_frames(self) -> int:
        """See ``DuplexSession``."""
        return self._stages.frames + len(self._steps)

    @property
    def dropped_frames(self) -> int:
        """See ``DuplexSession``."""
        return self._stages.dropped_frames

    @property
    def untranscribed_frames(self) -> int:
        """See ``DuplexSession``."""
        return 0 if self._listener is None else self._listener.untranscribed_frames

    async def finish_listening(self) -> tuple[CallerText, ...]:
        """See ``DuplexSession``. The model transcribes with a delay: silence makes it emit the rest."""
        if (listener := self._listener) is None:
            return ()
        finished = asyncio.Event()

        def finish(frames: int) -> None:
            # Through the model's thread, behind the caller's own frames.
            self._submit(partial(listener.finish, frames, partial(self._tell, finished.set)))

        if self._stages.finish(finish):
            with suppress(TimeoutError):
                await asyncio.wait_for(finished.wait(), LAST_WORDS_SECS)
        unread = [text for step in self._steps.take_unread() for text in step.caller_text]
        return (*unread, *listener.take().text)

    async def close(self) -> None:
        """See ``DuplexSession``."""
        if self._closed:
            return
        self._closed = True
        self._steps.close()
        self._speech_queue.end()
        self._stages.end()
        self._submit(self._forget)  # in the model's thread, where a step may be in progress
        try:
            # The codecs return to the pool only after their threads have released them.
            await self._stages.wait_released()
        finally:
            self._owner.on_closed(self, self._stages.hung)

    # Runs in the model's thread, except for the submission.

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
        if self._stages.is_ended:
            return
        try:
            language = self._open_language()
        except EngineError as error:  # its prompt could not be read; the model itself works
            self._fail("its persona", error, is_engine_sound=True)
            return
        if self._temperature is not None:
            language.set_temperature(self._temperature)
        self._language = language
        self._stages.begin()

    def _set_temperature(self, temperature: float) -> None:
        self._temperature = temperature
        if self._language is not None:
            self._language.set_temperature(temperature)

    def _forget(self) -> None:
        for part in (self._language, self._listener):
            if part is not None:
                part.close()

    def _speak(self, frame: CallerFrame) -> BatchPart[LanguagePart, LanguageStep] | None:
        """Return this call's part in the next step; None once it has ended."""
        language = self._language
        if self._stages.is_ended or language is None:
            return None
        # Forced text only while there are words to say: such a step is evaluated twice.
        words = self._speech_queue
        overrides = NO_OVERRIDES if words.is_over else Overrides(choose_text=words.decide)
        part = (language, frame.caller_tokens[:CODEBOOKS], overrides)
        return BatchPart(part, partial(self._spoke, frame), partial(self._fail, "the model"))

    def _spoke(self, frame: CallerFrame, step: LanguageStep, step_ms: float) -> None:
        frame.timings_ms["language"] = step_ms
        self._stages.decode(frame, step)
        if self._listener is not None:
            self._listener.hear(frame.number, frame.caller_tokens)

    # Runs in the codecs' threads.

    def _encoded(self, frame: CallerFrame) -> None:
        # A period, so that spare-time work leaves room for this call's next frame.
        self._submit(partial(self._speak, frame), FRAME_MS / 1000, self._steps_of_all)

    def _answer(self, frame: CallerFrame, step: LanguageStep, pcm: Pcm | None) -> DuplexStep:
        # At the end, words must not be put into a step that is not read.
        listener = None if self._stages.is_finishing else self._listener
        heard = Heard() if listener is None else listener.take()
        if heard.step_ms is not None:
            frame.timings_ms[LISTEN] = heard.step_ms
        text = self._detokenizer.push(step.text_token)
        return DuplexStep(pcm, text, frame.timings_ms, heard.text, heard.pause_probabilities)

    def _give(self, step: DuplexStep) -> None:
        """Append a step. Runs on the event loop."""
        self._steps.push(step)
        self._speech_queue.step_given()

    def _fail(self, where: str, reason: BaseException, *, is_engine_sound: bool = False) -> None:
        """End the session, from any thread; earlier steps are still output."""
        if not self._stages.end():
            return
        why = first_line(reason)  # rustymimi's messages include a backtrace
        error = EngineFailed(f"This call ended because {where} failed: {why}")
        error.__cause__ = reason
        if not is_engine_sound:
            self._owner.on_failed(self, str(error))
        # Behind the steps that are already on their way to the loop, which are still played.
        self._tell(partial(self._steps.fail, error))
        self._tell(self._speech_queue.end)

    def _tell(self, what: Callable[[], object]) -> None:
        """Run a function on the event loop, unless the loop is closed at the program's end."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)
