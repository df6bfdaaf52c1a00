"""``python bot.py serve``: answer calls."""

from __future__ import annotations

import click

from commands.options import takes
from engines.options import EngineOptions


@click.command()
@takes(EngineOptions)
def serve(engine_options: EngineOptions) -> None:
    """Answer calls at ws://HOST:PORT/stream."""
    print(engine_options)
