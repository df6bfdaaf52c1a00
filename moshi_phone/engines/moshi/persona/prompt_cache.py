"""Cache of prompt states: prefilled in slices while the phone rings, and reused by later calls."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from loguru import logger

from moshi_phone.audio.formats import FRAME_MS
from moshi_phone.engines.duplex import EngineError, EngineUnavailable
from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.prefill import Prefill
from moshi_phone.engines.moshi.model.ring_kv_cache import Snapshot
from moshi_phone.engines.moshi.model_thread import Job, ModelThread
from moshi_phone.engines.moshi.persona.prompt import Prompt, compose, prefill, prompted
from moshi_phone.engines.moshi.persona.voice import Voice
from moshi_phone.runtime.retries import CallLater
from moshi_phone.vendor.moshi_mlx.models.lm import Lm

SLICE_MS = 30.0  # target duration of one slice while other calls talk
MIN_POSITIONS = 16  # a pass of 16 positions takes hardly longer than one of a single position
MAX_POSITIONS = 256


@dataclass(frozen=True)
class PersonaPrompt:
    """The key of a prompt. Its ``repr`` omits the persona's words.

    Attributes:
        voice: a name or a file; empty for the model's own voice.
        prompt_tokens: the persona's tokens.
    """

    voice: str
    prompt_tokens: tuple[int, ...]

    def __repr__(self) -> str:
        """Show the voice and the persona's length, not its words."""
        return f"PersonaPrompt({self.voice!r}, {len(self.prompt_tokens)} tokens)"


class ChunkedPrefillScheduler:
    """Chooses the size of the next slice, and the pause that leaves the model to running calls."""

    def __init__(self) -> None:
        self.positions = MIN_POSITIONS

    def after(self, took_ms: float, *, others_talk: bool) -> float:
        """Adapt to the duration of a slice, and return the seconds until the next one.

        While other calls talk, they get two thirds of the time, and at least one frame's time between
        two slices.
        """
        # At most doubled: after one slice that was fast by chance, the next must not stall the calls.
        wanted = round(self.positions * SLICE_MS / max(took_ms, 0.1))
        self.positions = min(max(wanted, MIN_POSITIONS), 2 * self.positions, MAX_POSITIONS)
        return max(2 * took_ms, FRAME_MS) / 1000 if others_talk else 0.0


class PromptCache:
    """Prefills prompts and caches the most recently used states.

    Args:
        model: the language model.
        thread: the model's thread.
        load_voice: returns a voice by name or file; may take seconds, and runs in a separate thread.
        others_talk: whether calls are running; they must not miss a step.
        kept: maximum number of cached states.
        patience_s: seconds after which a slice counts as hung.
        run_later: runs the next slice after a pause.
    """

    def __init__(
        self,
        *,
        model: Lm,
        thread: ModelThread,
        load_voice: Callable[[str], Voice | None],
        others_talk: Callable[[], bool],
        kept: int,
        patience_s: float,
        run_later: CallLater,
    ) -> None:
        self._model = model
        self._thread = thread
        self._load_voice = load_voice
        self._others_talk = others_talk
        self._kept = kept
        self._patience_s = patience_s
        self._run_later = run_later
        self._lock = threading.Lock()  # guards the two below, which the event loop also reads
        # Least recently used first. Futures, so that two calls share one reading.
        self._snapshots: OrderedDict[PersonaPrompt, Future[Snapshot]] = OrderedDict()
        self._closed = False

    @property
    def kept_bytes(self) -> int:
        """Memory of the cached states, in bytes."""
        with self._lock:
            done = [one for one in self._snapshots.values() if one.done() and one.exception() is None]
        return sum(future.result().size_bytes for future in done)

    def want(self, role: PersonaPrompt) -> Future[Snapshot]:
        """Return a future of the state after a role's prompt. Does not block.

        The future keeps the state alive, even after its eviction from the cache.
        """
        with self._lock:
            known = self._snapshots.get(role)
            if known is not None and not (known.done() and known.exception()):  # retry after a failure
                self._snapshots.move_to_end(role)
                return known
            made: Future[Snapshot] = Future()
            self._snapshots[role] = made
            self._snapshots.move_to_end(role)
            while len(self._snapshots) > self._kept:  # may evict a pending one: its waiters hold the future
                self._snapshots.popitem(last=False)
        # In a separate thread: composing may read a file, or encode a recording for seconds.
        threading.Thread(target=self._begin, args=(role, made), name="moshi-prompt", daemon=True).start()
        return made

    async def read_at_start(self, role: PersonaPrompt) -> Future[Snapshot]:
        """Prefill a role's prompt in one pass, before the first call. The result is not cached here.

        Raises:
            EngineUnavailable: when it cannot be read.
        """
        began_s = time.monotonic()
        try:
            prompt = await asyncio.to_thread(self.compose, role)
            reading = self._thread.call(partial(prompted, self._model, prompt))
            _log(await asyncio.wrap_future(reading), (time.monotonic() - began_s) * 1000)
        except EngineError as error:
            raise EngineUnavailable(str(error)) from error
        return reading

    def compose(self, role: PersonaPrompt) -> Prompt:
        """Compose a role's prompt. Takes seconds for a recorded voice.

        Raises:
            PromptUnfit, VoiceUnfit: with the reason.
        """
        return compose(self._model.cfg, self._load_voice(role.voice), role.prompt_tokens)

    def close(self) -> None:
        """Stop prefilling, and drop all cached states."""
        with self._lock:
            self._closed = True
            self._snapshots.clear()

    def _begin(self, role: PersonaPrompt, made: Future[Snapshot]) -> None:
        try:
            prompt = self.compose(role)
        except Exception as error:
            _fail(made, error)
            return
        pace, began_s = ChunkedPrefillScheduler(), time.monotonic()

        # Each slice is a separate job, so that calls' steps run in between.
        def start() -> None:
            go_on(prefill(self._model, prompt))

        def go_on(reading: Prefill) -> None:
            slice_began_s = time.monotonic()
            reading.advance(pace.positions)
            now_s = time.monotonic()
            if not reading.positions_left:
                self._finish(reading.snapshot(), (now_s - began_s) * 1000, made)
                return
            pause_secs = pace.after((now_s - slice_began_s) * 1000, others_talk=self._others_talk())
            submit = partial(self._submit, partial(go_on, reading), made)
            if pause_secs:
                self._run_later(pause_secs, submit)
            else:
                submit()

        self._submit(start, made)

    def _submit(self, work: Callable[[], None], made: Future[Snapshot]) -> None:
        if self._closed:
            _fail(made, EngineUnavailable("Moshi has been stopped."))
            return
        self._thread.submit(Job(work, partial(_fail, made), self, self._patience_s, in_spare_time=True))

    def _finish(self, snapshot: Snapshot, took_ms: float, made: Future[Snapshot]) -> None:
        _log(snapshot, took_ms)
        if not made.done():  # done: the slice counted as hung, then finished
            made.set_result(snapshot)


def _log(snapshot: Snapshot, took_ms: float) -> None:
    logger.info(
        "A persona and its voice take {} frames, {:.1f} MB; read within {:.0f} ms",
        snapshot.position,
        snapshot.size_bytes / 1e6,
        took_ms,
    )


def _fail(made: Future[Snapshot], error: BaseException) -> None:
    if not made.done():
        made.set_exception(error)


def open_after_prefill(
    make: Callable[..., LanguageSession], start: Future[Snapshot] | None
) -> LanguageSession:
    """Begin a conversation whose prompt has been prefilled.

    Args:
        make: creates the session, given ``start``.
        start: the finished future of the prompt's state; None for a conversation without a prompt.

    Raises:
        EngineError: when the prompt could not be read.
    """
    return make() if start is None else make(start=start.result())
