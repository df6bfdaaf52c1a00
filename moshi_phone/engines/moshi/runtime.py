"""The state shared by all calls with Moshi, and its loading."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from loguru import logger
from sentencepiece import SentencePieceProcessor

from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.engines.moshi.checkpoint.checkpoint import Checkpoint, load_tokenizer
from moshi_phone.engines.moshi.codec.call_codecs import CallCodecs
from moshi_phone.engines.moshi.codec.codec import LIMIT_FRAMES
from moshi_phone.engines.moshi.load_model import Source
from moshi_phone.engines.moshi.measure_calls import calls_held, measure_codec_ms, measure_steps
from moshi_phone.engines.moshi.memory import (
    TAKE_LESS,
    calls_that_fit,
    limit_cache,
    model_need,
    program_need,
    weigh_here,
)
from moshi_phone.engines.moshi.model.forced_text import word_starts
from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.moshi.model_thread import ModelThread
from moshi_phone.engines.moshi.persona.prompt_cache import PromptCache
from moshi_phone.engines.moshi.persona.resolver import RequestResolver
from moshi_phone.engines.moshi.persona.voices import VoiceLoader, Voices
from moshi_phone.engines.moshi.recovery import Recovery
from moshi_phone.engines.moshi.step_batch import LanguageBatch, language_batch
from moshi_phone.engines.moshi.stt.checkpoint import stt_1b
from moshi_phone.engines.moshi.stt.model import ListeningModel, prepare
from moshi_phone.engines.options import AUTO_CALLS, EngineOptions
from moshi_phone.engines.voices import PERSONAPLEX_REPO, needs_personaplex
from moshi_phone.runtime.retries import CallLater, later
from moshi_phone.vendor.moshi_mlx.models.lm import Lm


@dataclass(frozen=True)
class LoadedMoshi:
    """The state shared by all calls.

    Attributes:
        calls: maximum number of simultaneous calls.
        memory_calls: number of calls that fit into memory; None with transcription.
        thread: runs everything of mlx.
        model: the evaluated model.
        codecs: the filled pools.
        tokenizer: the model's text tokenizer.
        word_starts: tokens that begin a word.
        recovery: tests the model after a failure.
        steps: combines the steps of waiting calls.
        listening: transcribes callers; None without ``--listen``.
        resolver: resolves a call's request.
        prompts: the cache of read personas.
    """

    calls: int
    memory_calls: int | None
    thread: ModelThread
    model: Lm
    codecs: CallCodecs
    tokenizer: SentencePieceProcessor
    word_starts: frozenset[int]
    recovery: Recovery
    steps: LanguageBatch
    listening: ListeningModel | None
    resolver: RequestResolver
    prompts: PromptCache

    async def close(self) -> None:
        """Free everything; each part waits for its running work, within a limit."""
        self.prompts.close()
        self.recovery.close()
        await asyncio.to_thread(self.codecs.close)
        await asyncio.to_thread(self.thread.stop)


@dataclass(frozen=True)
class Loader:
    """Loads Moshi into memory.

    Attributes:
        options: select the model and the number of calls.
        sampling: default sampling of calls.
        hang_s: seconds after which a step counts as hung.
        others_talk: whether calls are running, which must not miss a step.
        stopping: set when the start is cancelled; running work then stops.
        source: the source of the model.
        codec_limit_frames: frames after which a codec is replaced.
        clock: seconds, monotonic; measures a running step.
        run_later: schedules retries.
    """

    options: EngineOptions
    sampling: MoshiSampling
    hang_s: float
    others_talk: Callable[[], bool]
    stopping: threading.Event
    source: Source
    codec_limit_frames: int = LIMIT_FRAMES
    clock: Callable[[], float] = time.monotonic
    run_later: CallLater = later

    async def load(self, progress: Progress) -> LoadedMoshi:
        """Load everything, model and codecs at once.

        Args:
            progress: receives progress lines, from any thread.

        Raises:
            EngineUnavailable: with one sentence that names the remedy.
        """
        limit_cache()
        # All work with mlx is done in the model's thread, including the checks of the weights.
        thread = ModelThread(self.clock)
        try:
            finding = thread.call(partial(self.source.find, self.options, progress))
            checkpoint = await asyncio.wrap_future(finding)
            # Before the weights, which take minutes: the model may not support a persona.
            voices = await asyncio.to_thread(self._find_voices, checkpoint, progress)
            return await self._load_found(thread, checkpoint, voices, progress)
        except BaseException:
            self.stopping.set()  # first, so that the thread stops its running work and causes no wait
            await asyncio.to_thread(thread.stop)
            raise

    async def _load_found(
        self, thread: ModelThread, checkpoint: Checkpoint, voices: Voices | None, progress: Progress
    ) -> LoadedMoshi:
        """Load the files that were found, and combine them."""
        loader, model = self, None
        if self.options.moshi_calls == AUTO_CALLS:
            model = await self._load_model(thread, checkpoint, progress)
            calls = await self._measure_calls(thread, model, checkpoint, progress)
            loader = replace(self, options=replace(self.options, calls=calls))
        loader._weigh(checkpoint, progress)  # before the codecs, which take half a gigabyte each
        codecs = CallCodecs.for_calls(
            checkpoint.mimi,
            loader.options.moshi_calls,
            self.codec_limit_frames,
            listening=self.options.listens,
            run_later=self.run_later,
        )
        try:
            model = await loader._fill(codecs, model, thread, checkpoint, progress)
            # After the codecs: its warm-up encodes silence with one of them.
            loading = thread.call(partial(loader._load_listening, codecs, progress))
            listening = await asyncio.wrap_future(loading)
            tokenizer = load_tokenizer(checkpoint.tokenizer)
            resolver = RequestResolver.at_start(self.options, self.sampling, tokenizer, voices)
        except BaseException:
            self.stopping.set()  # first, as above
            await asyncio.to_thread(codecs.close)
            raise
        return LoadedMoshi(
            loader.options.moshi_calls,
            None if self.options.listens else calls_that_fit(checkpoint.config, checkpoint.quantization),
            thread,
            model,
            codecs,
            tokenizer,
            word_starts(tokenizer),
            self._recovery(thread, model),
            language_batch(loader.options.max_rows),
            listening,
            resolver,
            self._prompts(thread, model, codecs, voices or Voices(checkpoint.weights.parent)),
        )

    async def _fill(
        self,
        codecs: CallCodecs,
        model: Lm | None,
        thread: ModelThread,
        checkpoint: Checkpoint,
        progress: Progress,
    ) -> Lm:
        """Load the codecs and, unless it is loaded, the model at the same time."""
        filling = asyncio.to_thread(codecs.fill)  # in its own thread: it takes seconds for each codec
        if model is not None:
            await filling
            return model
        loaded, _ = await asyncio.gather(self._load_model(thread, checkpoint, progress), filling)
        return loaded

    async def _load_model(self, thread: ModelThread, checkpoint: Checkpoint, progress: Progress) -> Lm:
        return await asyncio.wrap_future(thread.call(partial(self.source.load, checkpoint, progress)))

    async def _measure_calls(
        self, thread: ModelThread, model: Lm, checkpoint: Checkpoint, progress: Progress
    ) -> int:
        """Measure how many calls this machine can hold, at least one, for ``--calls auto``.

        Raises:
            EngineUnavailable: with transcription, whose time is not measured here.
        """
        if self.options.listens:
            raise EngineUnavailable("--calls auto does not measure --listen; give --calls a number.")
        memory_calls = calls_that_fit(checkpoint.config, checkpoint.quantization)
        codec_ms = await asyncio.to_thread(measure_codec_ms, checkpoint.mimi)
        measuring = thread.call(partial(measure_steps, model, self.sampling, memory_calls, progress))
        held = calls_held(await asyncio.wrap_future(measuring), codec_ms, memory_calls)
        progress(f"--calls auto: {held}")
        if held.calls < 1:
            logger.warning("This machine is too slow for one call; it accepts one anyway.")
        return max(1, held.calls)

    def _weigh(self, checkpoint: Checkpoint, progress: Progress) -> None:
        """Report the memory need before anything is allocated."""
        calls = self.options.moshi_calls
        need = model_need(checkpoint.config, checkpoint.quantization, calls)
        if self.options.listens:
            need += model_need(stt_1b(), None, calls)
        verdict = weigh_here(need + program_need(calls, listening=self.options.listens))
        progress(f"Moshi takes about {verdict.text}.")
        if not verdict.fits:
            logger.warning("Moshi does not fit into memory: {} ({}).", verdict.text, TAKE_LESS)

    def _load_listening(self, codecs: CallCodecs, progress: Progress) -> ListeningModel | None:
        if not self.options.listens:
            return None
        checkpoint = self.source.find_listening(self.options, progress)
        model = self.source.load_listening(checkpoint)
        return prepare(checkpoint, model, codecs.encoders, self.options.max_rows)

    def _find_voices(self, checkpoint: Checkpoint, progress: Progress) -> Voices | None:
        """Find the voices of a model that takes personas.

        Raises:
            EngineUnavailable: when they are not available, or the model takes no persona.
        """
        if checkpoint.takes_persona:
            return self.source.find_voices(self.options, progress)
        if self.options.persona:
            raise EngineUnavailable(
                f"{checkpoint.weights} was not trained to take a persona; leave out --persona, "
                f"or take --model {PERSONAPLEX_REPO}."
            )
        if needs_personaplex(self.options.voice):
            raise EngineUnavailable(
                f"{checkpoint.weights} has one voice, its own; leave out --voice {self.options.voice}, "
                f"or take --model {PERSONAPLEX_REPO}."
            )
        return None

    def _recovery(self, thread: ModelThread, model: Lm) -> Recovery:
        def try_model() -> None:
            # A new session generates its position 0: a whole step, including the depformer.
            LanguageSession(model, self.sampling, seed=0).close()

        return Recovery(thread, try_model, self.hang_s, self.run_later)

    def _prompts(self, thread: ModelThread, model: Lm, codecs: CallCodecs, voices: Voices) -> PromptCache:
        return PromptCache(
            model=model,
            thread=thread,
            # A spare codec for a recorded voice: the others of the pool are for calls.
            load_voice=VoiceLoader(voices, codecs.decoders.borrow),
            others_talk=self.others_talk,
            kept=self.options.personas_kept,
            patience_s=self.hang_s,
            run_later=self.run_later,
        )
