"""``uv run --extra runner bot.py runner``: answer under pipecat's own development runner."""

from __future__ import annotations

import sys

import click


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},  # --help is the runner's, too
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def runner(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Start pipecat's own development runner with these arguments of its own.

    The engine is loaded as the runner starts; options of ours come from the environment or ``.env``.
    """
    try:
        from pipecat.runner import run  # noqa: PLC0415 - comes with an extra
    except ImportError as error:
        raise click.ClickException(
            f"pipecat's runner needs the package {error.name}: "
            f"uv run --extra runner bot.py runner {' '.join(arguments)}"
        ) from error
    front_door = sys.modules[context.obj().__module__]  # run_call's module has bot() beside it
    front_door.runner_state.load_with(run.app)
    sys.modules["__main__"].bot = front_door.bot  # type: ignore[attr-defined] # where the runner looks for it
    sys.argv = ["bot.py runner", *arguments]
    run.main()
