"""Calls with a whole engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from functools import partial

import numpy as np

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.engines.duplex import DuplexStep
from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.moshi.session import MoshiSession
from tests.support.waiting import wait_until

WAIT_S = 60.0


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def frame(number: int) -> Pcm:
    return (0.1 * np.random.default_rng(number).standard_normal(FRAME_SAMPLES)).astype(np.float32)


async def read(outputs: AsyncIterator[DuplexStep]) -> DuplexStep:
    return await asyncio.wait_for(anext(outputs), WAIT_S)


async def talk(session: MoshiSession, numbers: range) -> list[DuplexStep]:
    outputs, steps = session.outputs(), []
    for number in numbers:
        session.feed(frame(number))
        steps.append(await read(outputs))
    return steps


async def settled(engine: MoshiEngine) -> None:
    """Wait until the model's thread has done its pending jobs."""
    assert engine._loaded is not None
    await asyncio.wrap_future(engine._loaded.thread.call(lambda: None))


async def feed_together(
    engine: MoshiEngine, sessions: Sequence[MoshiSession], pcm: Pcm
) -> list[AsyncIterator[DuplexStep]]:
    """Feed each session a frame while the model's thread is held, and return their outputs."""
    assert engine._loaded is not None
    thread, go_on = engine._loaded.thread, threading.Event()
    held = thread.call(partial(go_on.wait, WAIT_S))
    for session in sessions:
        session.feed(pcm)
    await asyncio.to_thread(wait_until, lambda: len(thread._jobs) == len(sessions))
    go_on.set()
    await asyncio.wrap_future(held)
    return [session.outputs() for session in sessions]
