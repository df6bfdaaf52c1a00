"""Moshi as an engine: loads once, greets every caller, and isolates calls from each other."""

from __future__ import annotations

import asyncio
import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial

from moshi_phone.audio.histogram import Histogram
from moshi_phone.engines.duplex import (
    NO_OVERRIDES,
    CallOverrides,
    DuplexEngine,
    EngineBusy,
    EngineUnavailable,
    Progress,
)
from moshi_phone.engines.moshi.codec.codec import LIMIT_FRAMES
from moshi_phone.engines.moshi.codec.stream_codecs import Decoder, Encoder
from moshi_phone.engines.moshi.greeting import GreetingRecorder
from moshi_phone.engines.moshi.load_model import Files, Source
from moshi_phone.engines.moshi.model.detokenizer import Detokenizer
from moshi_phone.engines.moshi.model.forced_text import ForcedTextScheduler, words_of
from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.ring_kv_cache import Snapshot
from moshi_phone.engines.moshi.model.sampling import MoshiSampling, Sampling
from moshi_phone.engines.moshi.model.speech_queue import SpeechQueue
from moshi_phone.engines.moshi.persona.prompt_benchmark import PromptPace, measure_prompt
from moshi_phone.engines.moshi.persona.prompt_cache import PersonaPrompt, open_after_prefill
from moshi_phone.engines.moshi.persona.resolver import RecordedGreetings
from moshi_phone.engines.moshi.runtime import LoadedMoshi, Loader
from moshi_phone.engines.moshi.session import MoshiSession
from moshi_phone.engines.moshi.warm_up import warm_up
from moshi_phone.engines.options import EngineOptions
from moshi_phone.runtime.retries import CallLater, later

HANG_SHARE = 0.6  # share of --hang-secs: a hung step is abandoned before the calls queued behind it time out
CLOSING_HANG_S = 1.0  # a step of an ended call


class MoshiEngine(DuplexEngine):
    """Holds the model, the codecs and the greeting.

    Args:
        options: its settings.
        source: the source of the model; by default the files that the options name.
        hang_s: seconds after which a step counts as hung; by default ``options.hang_secs``.
        codec_limit_frames: frames after which a codec is replaced.
        clock: seconds, monotonic; measures a running step.
        run_later: schedules retries.
        give_up_ms: a first step that takes longer ends the start.
    """

    name = "moshi"

    def __init__(
        self,
        options: EngineOptions,
        *,
        source: Source | None = None,
        hang_s: float | None = None,
        codec_limit_frames: int = LIMIT_FRAMES,
        clock: Callable[[], float] = time.monotonic,
        run_later: CallLater = later,
        give_up_ms: float = math.inf,
    ) -> None:
        self.capacity = max(1, options.moshi_calls)  # with --calls auto, the start measures the number
        # from the options alone, before the weights are read
        self.capabilities = frozenset({"say", "listen"} if options.listens else {"say"})
        self.sampling = MoshiSampling(
            Sampling(options.text_temperature, options.text_top_k),
            Sampling(options.audio_temperature, options.audio_top_k),
        )
        self.supported_overrides = frozenset({"greeting", "temperature"})  # until the weights are known
        self.greetings = RecordedGreetings()  # filled by the start, then only read
        self._options = options
        self._hang_s = HANG_SHARE * options.hang_secs if hang_s is None else hang_s
        self._give_up_ms = give_up_ms
        self._lock = threading.Lock()  # of lost_calls: calls are lost in any thread
        # Changed on the event loop only; its length is read anywhere.
        self._sessions: set[MoshiSession] = set()
        self._not_loaded_reason: str | None = "Moshi is not loaded."  # None while it is loaded
        self._stopping = threading.Event()  # read between two frames by the model's thread
        self._loader = Loader(
            options=options,
            sampling=self.sampling,
            hang_s=self._hang_s,
            others_talk=lambda: bool(self._sessions),
            stopping=self._stopping,
            source=source or Files(),
            codec_limit_frames=codec_limit_frames,
            clock=clock,
            run_later=run_later,
        )
        # Set by ``start`` and unset by ``stop``, on the loop; other threads copy it once before they use it.
        self._loaded: LoadedMoshi | None = None
        # Outside the prompt cache: never evicted.
        self._default_start: Future[Snapshot] | None = None

    @property
    def running(self) -> int:
        """See ``DuplexEngine``."""
        return len(self._sessions)

    @property
    def voices(self) -> Sequence[str]:
        """See ``DuplexEngine``."""
        return () if self._loaded is None else self._loaded.resolver.voices

    @property
    def step_times(self) -> Mapping[int, Histogram]:
        """See ``DuplexEngine``."""
        return {} if self._loaded is None else self._loaded.steps.times.histograms

    @property
    def memory_calls(self) -> int | None:
        """Number of calls that fit in memory; None before the start and with ``--listen``."""
        return None if self._loaded is None else self._loaded.memory_calls

    @property
    def error(self) -> str | None:
        """See ``DuplexEngine``."""
        loaded = self._loaded
        if self._not_loaded_reason is not None or loaded is None:
            return self._not_loaded_reason
        if loaded.recovery.error is not None:
            return loaded.recovery.error
        if self.running < self.capacity and not loaded.codecs.is_ready:
            return "A codec for the next call is still being loaded; try again in a second."
        return None

    async def start(self, progress: Progress) -> None:
        """See ``DuplexEngine``."""
        loop = asyncio.get_running_loop()

        def tell(line: str) -> None:
            self._raise_if_stopping()
            loop.call_soon_threadsafe(progress, line)

        self._stopping.clear()
        # Before it is ready: ``stop`` must free the remains of a failed warm-up.
        self._loaded = loaded = await self._loader.load(tell)
        self.capacity = loaded.calls
        self.supported_overrides = loaded.resolver.supported_overrides
        start = None
        if loaded.resolver.default is not None:
            progress("Moshi reads its persona.")
            self._default_start = await loaded.prompts.read_at_start(loaded.resolver.default)
            start = self._default_start.result()
        progress("Moshi warms up.")
        warming_up = partial(warm_up, loaded.model, self.sampling, loaded.steps.times, tell)
        await asyncio.wrap_future(loaded.thread.call(partial(warming_up, give_up_ms=self._give_up_ms)))
        recording = loaded.thread.call(partial(self._recorder(loaded).record, start, tell))
        self.greetings = await asyncio.wrap_future(recording)
        self._not_loaded_reason = None
        progress(f"Moshi is ready for {self.capacity} call{'s' if self.capacity > 1 else ''} at once.")

    def check_request(self, request: CallOverrides) -> None:
        """See ``DuplexEngine``. Once it is loaded, it also checks voices and greetings."""
        super().check_request(request)
        if (loaded := self._loaded) is not None:
            loaded.resolver.greeting(request, loaded.resolver.role(request), self.greetings)

    def prepare(self, request: CallOverrides) -> None:
        """See ``DuplexEngine``."""
        self.check_request(request)
        if (loaded := self._loaded) is not None and (role := loaded.resolver.role(request)) is not None:
            self._start_of(loaded, role)

    async def measure_prompt(self) -> PromptPace | None:
        """Measure the default persona, for ``bench``; None if there is none.

        Raises:
            EngineUnavailable: before the start.
        """
        if (loaded := self._loaded) is None:
            raise EngineUnavailable("Moshi is not loaded.")
        if (role := loaded.resolver.default) is None:
            return None
        prompt = await asyncio.to_thread(loaded.prompts.compose, role)
        measuring = loaded.thread.call(partial(measure_prompt, loaded.model, prompt))
        return await asyncio.wrap_future(measuring)

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> MoshiSession:
        """See ``DuplexEngine``."""
        super().check_request(request)  # the rest is checked below
        self.watch()  # first: a hung thread would cost this call its session
        error, loaded = self.error, self._loaded
        if error is not None or loaded is None:
            raise EngineBusy(error or "Moshi is not loaded.")
        if self.running >= self.capacity:
            raise EngineBusy(
                "Moshi holds one call at a time, and it is taken."
                if self.capacity == 1
                else f"Moshi holds {self.capacity} calls at once, and all are taken."
            )
        role = loaded.resolver.role(request)
        greeting = loaded.resolver.greeting(request, role, self.greetings)
        start = None if role is None else self._start_of(loaded, role)
        # Last of the steps that can fail: an exception above must leave no codec borrowed.
        encoder, decoder = loaded.codecs.take()
        # From the system's randomness: without --seed, no two calls sample alike.
        seed = secrets.randbits(32) if self._options.seed is None else self._options.seed
        session = MoshiSession(
            owner=self,
            model_thread=loaded.thread,
            steps=loaded.steps,
            open_language=partial(
                open_after_prefill,
                partial(
                    LanguageSession,
                    loaded.model,
                    loaded.resolver.sampling(request),
                    seed,
                    prefix=greeting.prefix,
                ),
                start,
            ),
            after=start,  # the call starts at once; its frames wait in the backlog meanwhile
            encoder=encoder,
            decoder=decoder,
            detokenizer=Detokenizer(loaded.tokenizer),
            speech_queue=SpeechQueue(
                ForcedTextScheduler(loaded.word_starts), partial(words_of, tokenizer=loaded.tokenizer)
            ),
            patience_s=self._hang_s,
            make_listener=None if loaded.listening is None else loaded.listening.listener,
        )
        if greeting.words:
            session.say(greeting.words)
        self._sessions.add(session)
        return session

    async def stop(self) -> None:
        """See ``DuplexEngine``."""
        self._not_loaded_reason = (
            "Moshi has been stopped."  # before the first await, so that no call begins meanwhile
        )
        self._stopping.set()
        await asyncio.gather(*(session.close() for session in list(self._sessions)))
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            await loaded.close()

    def watch(self) -> None:
        """Abandon the model's thread if it hangs: its calls are lost, the others continue in a new one."""
        if self._loaded is not None:
            self._loaded.thread.abandon_if_hung()

    def on_failed(self, session: MoshiSession, reason: str) -> None:
        """Count a lost call, and test the model before it takes another."""
        with self._lock:
            self.lost_calls += 1
        loaded = self._loaded  # once: any thread may be here while the event loop stops the engine
        if loaded is not None:
            loaded.recovery.begin(reason, session.log)

    def on_closed(self, session: MoshiSession, hung: Sequence[Encoder | Decoder]) -> None:
        """Release the session, and replace its hung codecs."""
        self._sessions.discard(session)
        if self._loaded is None:
            return
        for coder in hung:
            coder.abandon()
        # Sooner than for a running call: the answer of this step is not needed.
        if self._loaded.thread.abandon_if_hung(session, CLOSING_HANG_S):
            self.on_failed(session, "A call ended in a step that hung")

    def _raise_if_stopping(self) -> None:
        """Abort, between two frames or files, the work of a start that was cancelled."""
        if self._stopping.is_set():
            raise EngineUnavailable("Moshi was stopped before it was ready.")

    def _recorder(self, loaded: LoadedMoshi) -> GreetingRecorder:
        return GreetingRecorder(
            self._options,
            loaded.model,
            self.sampling,
            loaded.codecs,
            loaded.tokenizer,
            self._raise_if_stopping,
        )

    def _start_of(self, loaded: LoadedMoshi, role: PersonaPrompt) -> Future[Snapshot]:
        if role == loaded.resolver.default and self._default_start is not None:
            return self._default_start
        return loaded.prompts.want(role)
