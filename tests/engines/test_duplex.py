"""engines/duplex.py: an engine refuses what it does not support, and one module exports every name."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from moshi_phone.engines import duplex, duplex_types
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides, EngineError, RequestRefused
from moshi_phone.engines.parrot import ParrotEngine


async def test_the_parrot_refuses_a_persona() -> None:
    engine = ParrotEngine(1.0)
    await engine.start(lambda _: None)
    expected = "The engine parrot takes no persona for a call; leave it out."
    with pytest.raises(RequestRefused, match=expected):
        engine.prepare(CallOverrides("You are Anna."))
    with pytest.raises(EngineError, match=expected):
        engine.open_session(CallOverrides("You are Anna."))
    assert engine.running == 0
    engine.prepare(NO_OVERRIDES)
    await engine.open_session(NO_OVERRIDES).close()
    await engine.stop()


def test_one_import_is_enough_for_a_user_s_engine() -> None:
    own = {
        name
        for name, value in vars(duplex_types).items()
        if inspect.isclass(value) and "duplex_types" in value.__module__
    }
    assert own <= set(duplex.__all__)
    assert all(hasattr(duplex, name) for name in duplex.__all__)


@pytest.mark.parametrize("pcm", [np.zeros(1919, np.float32), np.zeros((1, 1920), np.float32), np.zeros(1920)])
def test_a_frame_of_another_shape_or_type_is_refused(pcm: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"^expected float32 \[1920\], got "):
        duplex.check_frame(pcm)
