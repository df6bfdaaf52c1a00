"""``uv run bot.py download``: download Moshi's weights."""

from __future__ import annotations

import click

from moshi_phone.commands.errors import explained
from moshi_phone.commands.options import command, options_from
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.personas import resolve_personas


@command()
@options_from(
    EngineOptions, only=("model", "voice", "persona", "personas", "quantize", "listen", "listen_model")
)
def download(engine_options: EngineOptions) -> None:
    """Download Moshi's weights, check every file, and replace damaged ones."""
    # Imported here: mlx loads slowly, and other commands do not need it.
    from moshi_phone.engines.moshi import find_files  # noqa: PLC0415
    from moshi_phone.engines.moshi.stt.checkpoint import find_listening  # noqa: PLC0415

    with explained():
        engine_options, _ = resolve_personas(engine_options)
        checkpoint = find_files.find(engine_options, click.echo, repair=True)
        if checkpoint.takes_persona:
            click.echo(f"Voices: {', '.join(find_files.voices(engine_options, click.echo).names)}")
        paths = [checkpoint.weights, checkpoint.mimi, checkpoint.tokenizer]
        if engine_options.listens:
            listening = find_listening(engine_options, click.echo, repair=True)
            paths += [listening.weights, listening.tokenizer]
    for path in paths:
        click.echo(f"{path}: {path.stat().st_size / 1e6:,.1f} MB, whole")
