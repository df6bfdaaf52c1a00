"""``uv run --extra runner bot.py runner``: answer calls under pipecat's development runner."""

from __future__ import annotations

import sys

import click


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "help_option_names": [],
    },  # --help belongs to the runner, too
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def runner(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Start pipecat's development runner with its own arguments.

    The engine is loaded when the runner starts. Our options come from the environment or ``.env``.
    """
    try:
        import python_multipart  # noqa: F401, PLC0415 - without it, the runner fails with a traceback
        from pipecat.runner import run  # noqa: PLC0415 - comes with an extra
    except ImportError as error:
        raise click.ClickException(
            f"pipecat's runner needs the package {error.name}: "
            f"uv run --extra runner bot.py runner {' '.join(arguments)}"
        ) from error
    front_door = sys.modules[context.obj().__module__]  # bot() is in the module of run_call
    front_door.runner_state.load_with(run.app)
    sys.modules["__main__"].bot = front_door.bot  # type: ignore[attr-defined] # the runner searches this module
    sys.argv = ["bot.py runner", *arguments]
    run.main()
