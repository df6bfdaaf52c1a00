"""``uv run bot.py voices``: list the voices, and play one."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path

import click
import cloup
import numpy as np
import soundfile

from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ
from moshi_phone.commands.errors import Unusable, explained
from moshi_phone.commands.options import command, options_from
from moshi_phone.engines.duplex import DuplexEngine, EngineUnavailable
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.personas import resolve_personas
from moshi_phone.engines.voices import MOSHI_VOICES, PERSONAPLEX_REPO, PERSONAPLEX_VOICE, PERSONAPLEX_VOICES

SAMPLE_SECS = 6.0
WORDS = "Hello, this is how I sound on the phone."
KINDS = {"NATF": "natural, female", "NATM": "natural, male", "VARF": "varied, female", "VARM": "varied, male"}


@command()
@options_from(EngineOptions, only=("model", "quantize", "persona", "personas"))
@cloup.option("--play", metavar="NAME|FILE", help="Generate a sample of this voice with the model.")
@cloup.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the sample; by default NAME.wav in this directory.",
)
def voices(engine_options: EngineOptions, play: str | None, out: Path | None) -> None:
    """List the voices of Moshi and PersonaPlex, and mark downloaded ones.

    For PersonaPlex, a voice can also be your own file: a .pt in NVIDIA's format, or a .wav of 1 to 30 s.
    """
    with explained():
        options, _ = resolve_personas(engine_options)
        if play:
            target = out or Path(f"{Path(play).stem}.wav")
            if not os.access(target.parent, os.W_OK) or target.is_dir():
                raise Unusable(f"Cannot write to {target}; name another file with --out.")
            asyncio.run(_play(options, play, target))
            click.echo(f"{target}: {SAMPLE_SECS:g} s")
            return
        for line in _list(options):
            click.echo(line)


def _list(options: EngineOptions) -> list[str]:
    # Imported here: mlx loads slowly, and other commands do not need it.
    from moshi_phone.engines.moshi import find_files  # noqa: PLC0415

    lines = ["Moshi (--voice NAME):"]
    for name, what in zip(MOSHI_VOICES, ("male, the default", "female"), strict=True):
        own = dataclasses.replace(options, model="", voice=name, persona="")
        try:
            here = find_files.cached(own, lambda _: None) is not None
        except EngineUnavailable:  # damaged: 'download' reports and replaces it
            here = False
        lines.append(_line(name, what, here=here))
    found = find_files.cached_voices_of(options)
    names = found.names if found else []
    lines.append(
        f"PersonaPlex ({options.model or PERSONAPLEX_REPO}; --voice NAME, with or without --persona):"
    )
    for name in [*PERSONAPLEX_VOICES, *(name for name in names if name not in PERSONAPLEX_VOICES)]:
        what = KINDS.get(name[:4], "of your own") + (", the default" if name == PERSONAPLEX_VOICE else "")
        lines.append(_line(name, what, here=name in names))
    lines.append("* its files are here; 'uv run bot.py download --voice NAME' fetches the others.")
    return lines


def _line(name: str, what: str, *, here: bool) -> str:
    return f"  {'*' if here else ' '} {name:<10} {what}"


async def _play(options: EngineOptions, voice: str, target: Path) -> None:
    from moshi_phone.engines.moshi.engine import MoshiEngine  # noqa: PLC0415 - as above

    engine = MoshiEngine(dataclasses.replace(options, voice=voice, greeting=WORDS))
    try:
        await engine.start(click.echo)
        pcm = await _listen(engine, round(SAMPLE_SECS * 1000 / FRAME_MS))
    finally:
        await engine.stop()
    try:
        soundfile.write(target, pcm, SAMPLE_RATE_HZ, format="WAV")
    except (OSError, soundfile.LibsndfileError) as error:
        raise Unusable(f"Cannot write to {target} ({error}).") from error


async def _listen(engine: DuplexEngine, frames: int) -> np.ndarray:
    """Record its speech to a silent caller: float32 ``[samples]`` at 24 kHz."""
    session = engine.open_session()
    heard = []
    try:
        outputs = session.outputs()
        for _ in range(frames):
            session.feed(np.zeros(FRAME_SAMPLES, np.float32))
            step = await anext(outputs)
            heard.append(np.zeros(FRAME_SAMPLES, np.float32) if step.pcm is None else step.pcm)
    finally:
        await session.close()
    return np.concatenate(heard)
