"""``uv run bot.py bench``: whether this machine keeps up with Moshi, and with how many calls."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import cloup

from moshi_phone.commands.errors import explained
from moshi_phone.commands.numbers import WholeNumber
from moshi_phone.commands.options import command, options_from
from moshi_phone.engines import nvidia
from moshi_phone.engines.choose import accelerator, create_engine, unused_gpu, uses_backends
from moshi_phone.engines.duplex import LISTEN
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.personas import resolve_personas
from moshi_phone.engines.real_time_benchmark import (
    GIVE_UP_MS,
    Capacity,
    Pace,
    TooSlow,
    capacity,
    measure,
    report,
)

if TYPE_CHECKING:
    from moshi_phone.engines.moshi.engine import MoshiEngine


@command()
@options_from(EngineOptions, without=("parrot_delay", "greeting", "greeting_frames", "hang_secs"))
@cloup.option(
    "--frames",
    type=WholeNumber(1),
    default=250,
    show_default=True,
    help="How long to measure, in frames of 80 ms.",
)
def bench(engine_options: EngineOptions, frames: int) -> None:
    """Measure Moshi in real time, with --calls at once, and report whether it keeps up.

    Uses the weights on this machine, or else random ones of the same size: nothing is downloaded. With
    --persona, it also measures the prompt's prefill and the copy into a call. With --engine remote, it
    measures the servers and the network to them; otherwise Moshi on this machine. The exit code is 0 if it
    keeps up, and 1 if it does not.
    """
    with explained():
        engine_options, _ = resolve_personas(engine_options)
    if uses_backends(engine_options):
        _bench_servers(engine_options, frames)
    # Without a greeting, every frame is measured, from the first one on.
    options = dataclasses.replace(engine_options, greeting="none")
    # The folder holds Mimi with random weights, 385 MB; it is deleted after the benchmark.
    with explained(), tempfile.TemporaryDirectory(prefix="moshi-bench-") as folder:
        try:
            pace, holds = asyncio.run(_bench(options, frames, Path(folder)))
        except TooSlow as slow:
            click.echo(f"Verdict: {slow}")
            raise SystemExit(1) from slow
    click.echo(f"mlx on {accelerator() or 'the processor'}, {pace.calls} at once, {frames} frames of 80 ms:")
    if gpu := unused_gpu():
        click.echo(f"This machine's {gpu} is not used: {nvidia.REMEDY}.")
    for line in report(pace):
        click.echo(line)
    if holds is not None:
        click.echo(str(holds))
    raise SystemExit(0 if pace.keeps_up else 1)


def _bench_servers(options: EngineOptions, frames: int) -> NoReturn:
    from moshi_phone.engines.remote.pace import keeps_up, report_servers  # noqa: PLC0415 - as below

    async def bench_them() -> Pace:
        # The model hears the caller from the first frame on, so that all frames cost the same.
        choice = create_engine(dataclasses.replace(options, greeting="none"))
        click.echo(choice.line)
        try:
            await choice.engine.start(click.echo)
            return await measure(choice.engine, max(1, options.moshi_calls), frames)
        finally:
            await choice.engine.stop()

    with explained():
        pace = asyncio.run(bench_them())
    for line in report_servers(pace):
        click.echo(line)
    raise SystemExit(0 if keeps_up(pace) else 1)


async def _bench(options: EngineOptions, frames: int, folder: Path) -> tuple[Pace, Capacity | None]:
    # Imported here: mlx loads slowly, and other commands do not need it.
    from moshi_phone.commands.random_weights import RandomValues  # noqa: PLC0415
    from moshi_phone.engines.moshi import find_files  # noqa: PLC0415
    from moshi_phone.engines.moshi.engine import MoshiEngine  # noqa: PLC0415
    from moshi_phone.engines.moshi.load_model import Files  # noqa: PLC0415
    from moshi_phone.engines.moshi.stt.checkpoint import cached_listening  # noqa: PLC0415

    here = find_files.cached(options, lambda _: None) is not None
    if options.model and not here:
        click.echo(f"The weights of {options.model} are not here.")
    if options.listens and cached_listening(options) is None:
        click.echo("The listening model is not here, so both get random weights.")
        here = False
    source = Files() if here else RandomValues(folder)
    if options.persona and not here:
        options = dataclasses.replace(options, voice="")  # random weights have none
    # A slow machine's steps should be measured, not aborted, unless a single one shows that it is too slow.
    engine = MoshiEngine(options, source=source, hang_s=math.inf, give_up_ms=GIVE_UP_MS)
    try:
        await engine.start(click.echo)
        if (prompt := await engine.measure_prompt()) is not None:
            click.echo(str(prompt))
        pace = await measure(engine, engine.capacity, frames)
        return pace, _capacity(engine, pace)
    finally:
        await engine.stop()


def _capacity(engine: MoshiEngine, pace: Pace) -> Capacity | None:
    """Compute from the run's steps how many calls this machine can hold; None if nothing was answered."""
    listen_ms = pace.stages[LISTEN].p95 if LISTEN in pace.stages else 0.0  # in the same thread
    steps = {
        rows: listen_ms + times.quantile_ms(0.95) for rows, times in engine.step_times.items() if times.count
    }
    if not steps or not {"encode", "decode"} <= pace.stages.keys():
        return None
    codec_ms = pace.stages["encode"].p50 + pace.stages["decode"].p50
    return capacity(steps, codec_ms, os.cpu_count() or 1, memory=engine.memory_calls)
