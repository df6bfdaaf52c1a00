"""benchmarks/first_call.py: its steps, with packages that are already installed."""

from __future__ import annotations

import pytest

from benchmarks.first_call import first_call
from tests.support.clone import Clone
from tests.support.doc_commands import PARROT


@pytest.mark.slow
async def test_each_step_is_timed(clone: Clone) -> None:
    steps = dict(await first_call(clone.path, {**clone.environment(), **PARROT}))
    assert list(steps) == [
        "uv makes the environment",
        "the program starts, until it answers",
        "from the call to the first audio",
        "the rest of a call of 5 s",
    ]
    assert steps["uv makes the environment"] == 0  # the tests' own
    assert all(secs > 0 for secs in list(steps.values())[1:])
    assert steps["the rest of a call of 5 s"] > 4


@pytest.mark.slow
async def test_a_program_that_exits_is_reported_with_its_output(clone: Clone) -> None:
    with pytest.raises(SystemExit, match="expected auto, moshi, parrot, remote or MODULE:CLASS, got 'parot'"):
        await first_call(clone.path, {**clone.environment(), "MOSHI_ENGINE": "parot"})
