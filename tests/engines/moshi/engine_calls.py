"""Calls with a whole engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.engines.duplex import DuplexStep
from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.moshi.session import MoshiSession

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


async def resolve_personas(engine: MoshiEngine) -> None:
    """Wait until the model's thread has done what it has been asked to."""
    assert engine._loaded is not None
    await asyncio.wrap_future(engine._loaded.thread.call(lambda: None))
