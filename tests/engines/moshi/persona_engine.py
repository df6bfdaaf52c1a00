"""An engine with a persona, and calls to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np

from moshi_phone.audio.formats import FRAME_SAMPLES
from moshi_phone.engines.duplex import DuplexStep
from moshi_phone.engines.moshi.session import MoshiSession
from moshi_phone.engines.options import EngineOptions

WAIT_S = 60.0


ANNA = "dadada lolo memi"  # of the syllables that the tiny tokenizer knows


def options(model: Path, **more: object) -> EngineOptions:
    return replace(
        EngineOptions(model=str(model), quantize="none", calls=2, seed=1, persona=ANNA, personas_kept=2),
        **more,  # type: ignore[arg-type]
    )


async def talk(session: MoshiSession, frames: int, until_said: str | None = None) -> list[DuplexStep]:
    """Feed noise; gives the steps up to these words, or so many as there are frames."""
    outputs, steps = session.outputs(), list[DuplexStep]()
    for number in range(frames):
        session.feed((0.1 * np.random.default_rng(number).standard_normal(FRAME_SAMPLES)).astype(np.float32))
        steps.append(await asyncio.wait_for(anext(outputs), WAIT_S))
        if until_said and until_said in text_of(steps):
            break
    return steps


def text_of(steps: list[DuplexStep]) -> str:
    """Give the words, one space between them."""
    return " ".join("".join(step.text for step in steps).split())
