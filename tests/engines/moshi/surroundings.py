"""A Moshi session with its dependencies: the tiny model, and an instant codec."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.engines.duplex import DuplexStep
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS
from moshi_phone.engines.moshi.model.forced_text import ForcedTextScheduler, Word
from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.moshi.model.speech_queue import SpeechQueue
from moshi_phone.engines.moshi.model.token_history import ForcedPrefix, PrefixFrame, Tokens
from moshi_phone.engines.moshi.model_thread import ModelThread
from moshi_phone.engines.moshi.session import MoshiSession
from moshi_phone.engines.moshi.step_batch import LanguageBatch, language_batch
from moshi_phone.engines.moshi.stt.worker import MakeListener
from tests.support.tiny_moshi import tiny_lm

CARD = 64


WAIT_S = 60.0  # for what takes milliseconds on any machine


class Coder:
    """Audio that carries its tokens in the first samples of a frame; encodes and decodes."""

    def __init__(self) -> None:
        self.released = 0
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)

    def encode(self, pcm: Pcm) -> Tokens:
        self.entered.release()
        assert self.open.wait(WAIT_S)
        return np.round(pcm[:CODEBOOKS] * CARD).astype(np.uint32)

    def decode(self, tokens: Tokens) -> Pcm:
        pcm = np.zeros(FRAME_SAMPLES, np.float32)
        pcm[:CODEBOOKS] = tokens / CARD
        return pcm

    def release(self) -> None:
        self.released += 1


class Pieces:
    def push(self, token: int) -> str:
        return f" {token}"


class SessionOwner:
    def __init__(self) -> None:
        self.observations, self.reasons, self.lost = 0, list[str](), list[int]()

    def watch(self) -> None:
        self.observations += 1

    def on_failed(self, session: MoshiSession, reason: str) -> None:
        self.reasons.append(reason)

    def on_closed(self, session: MoshiSession, hung: Sequence[object]) -> None:
        self.lost.append(len(hung))


def frame(number: int) -> Pcm:
    pcm = np.zeros(FRAME_SAMPLES, np.float32)
    pcm[:CODEBOOKS] = np.random.default_rng(number).integers(0, CARD, CODEBOOKS) / CARD
    return pcm


def tokens_of(step: DuplexStep) -> list[int]:
    assert step.pcm is not None
    return np.round(step.pcm[:CODEBOOKS] * CARD).astype(int).tolist()  # type: ignore[no-any-return]


def spell(text: str) -> list[Word]:
    """Turn "10,11 12" into a word of two pieces and a word of one."""
    return [Word(tuple(int(piece) for piece in word.split(","))) for word in text.split()]


class Surroundings:
    """A session with its dependencies."""

    def __init__(
        self,
        thread: ModelThread,
        prefix: ForcedPrefix = (),
        seed: int = 3,
        *,
        coder: Coder | None = None,
        steps: LanguageBatch | None = None,
        make_listener: MakeListener | None = None,
    ) -> None:
        self.owner, self.coder, self.thread = SessionOwner(), coder or Coder(), thread
        model = thread.model  # type: ignore[attr-defined]
        self.open_language = partial(LanguageSession, model, MoshiSampling(), seed, prefix=prefix)
        self.session = MoshiSession(
            owner=self.owner,
            model_thread=thread,
            steps=steps or language_batch(1),
            open_language=self.open_language,
            encoder=self.coder,  # type: ignore[arg-type]
            decoder=self.coder,  # type: ignore[arg-type]
            detokenizer=Pieces(),  # type: ignore[arg-type]
            speech_queue=SpeechQueue(ForcedTextScheduler(), spell),
            patience_s=1e9,
            make_listener=make_listener,
        )
        self.outputs: AsyncIterator[DuplexStep] = self.session.outputs()

    async def exchange(self, numbers: range) -> list[DuplexStep]:
        steps = []
        for number in numbers:
            self.session.feed(frame(number))
            steps.append(await self.step())
        return steps

    async def step(self) -> DuplexStep:
        return await asyncio.wait_for(anext(self.outputs), WAIT_S)


def opening(frames: int) -> ForcedPrefix:
    rng = np.random.default_rng(8)
    return tuple(
        PrefixFrame(10 + n, rng.integers(0, CARD, CODEBOOKS).astype(np.uint32)) for n in range(frames)
    )


@contextmanager
def tiny_thread() -> Iterator[ModelThread]:
    """A model thread with a tiny model in its attribute ``model``."""
    thread = ModelThread()
    thread.model = thread.call(partial(tiny_lm, dim=32, layers=1, card=CARD, context=16)).result(WAIT_S)  # type: ignore[attr-defined]
    yield thread
    thread.stop()
