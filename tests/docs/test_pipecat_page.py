"""docs/pipecat.md: its pipeline function runs a call, and the stages that it names exist."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import numpy as np
from pipecat.workers.runner import WorkerRunner

from moshi_phone.testing import FakeSession, FakeTransport, caller_frames, heard, run_simulated
from pipelines.call_parts import CallParts
from processors.frames import MulawInputFrame
from tests.support.markdown_blocks import ROOT, blocks

PAGE = ROOT / "docs" / "pipecat.md"


def test_the_printed_pipeline_function_runs_a_call() -> None:
    names: dict[str, Any] = {}
    exec(next(block for language, block in blocks(PAGE) if language == "python"), names)  # noqa: S102
    transport = FakeTransport()
    parts = CallParts(transport, FakeSession(), options={"name": "desk"})
    tone = np.sin(2 * np.pi * 440 / 8_000 * np.arange(8_000)).astype(np.float32) / 2

    async def call() -> None:
        worker = names["observed"](parts)
        assert worker.name == "desk"
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)

        async def on_started(*_: object) -> None:
            for frame in caller_frames(tone):
                if isinstance(frame, MulawInputFrame):
                    await transport.receive(frame)
            await worker.stop_when_done()

        worker.add_event_handler("on_pipeline_started", on_started)
        await runner.run()

    run_simulated(call())
    assert np.abs(heard(transport.sent)).max() > 0.4


def test_the_named_stages_exist() -> None:
    text = PAGE.read_text()
    for module, names in (
        ("processors.frames", r"`(Mulaw\w+|Mark\w+|EngineMetricsFrame)`"),
        ("pipecat.frames.frames", r"`((?!Mulaw|Mark|Engine)\w+Frame)`"),
    ):
        found = set(re.findall(names, text))
        assert found
        assert not [name for name in found if not hasattr(import_module(module), name)]
