"""``uv run bot.py download``: fetch Moshi's weights and nothing else."""

# Tested in tests/engines/moshi/test_weights.py.

from __future__ import annotations

import click

from commands.errors import explained
from commands.options import command, takes
from engines.options import EngineOptions
from engines.personas import settle


@command("Fetch Moshi's weights, and nothing else.")
@takes(EngineOptions, only=("model", "voice", "persona", "personas", "quantize", "listen", "listen_model"))
def download(engine_options: EngineOptions) -> None:
    """Fetch Moshi's weights, check every file, and fetch damaged ones again."""
    from engines.moshi import weights  # noqa: PLC0415 - loads mlx, which other commands need not wait for
    from engines.moshi.listening_checkpoint import find_listening  # noqa: PLC0415

    with explained():
        engine_options, _ = settle(engine_options)
        checkpoint = weights.find(engine_options, click.echo, repair=True)
        if checkpoint.takes_persona:
            click.echo(f"Voices: {', '.join(weights.voices(engine_options, click.echo).names)}")
        paths = [checkpoint.weights, checkpoint.mimi, checkpoint.tokenizer]
        if engine_options.listens:
            listening = find_listening(engine_options, click.echo, repair=True)
            paths += [listening.weights, listening.tokenizer]
    for path in paths:
        click.echo(f"{path}: {path.stat().st_size / 1e6:,.1f} MB, whole")
