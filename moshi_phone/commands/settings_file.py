"""The settings file, ``--config FILE.toml``: options by their names, below environment and command line."""

from __future__ import annotations

import difflib
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from moshi_phone.commands.dotenv_file import access_warnings, dotenv_warnings


def read_settings_file(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Use a file's values for options that neither the command line nor the environment sets.

    Names are those of options, with dashes or underscores. One file serves all commands: options of other
    commands are ignored, unknown names are an error.

    Args:
        ctx: the command's context.
        param: the option ``--config``.
        path: the file's path.

    Raises:
        click.BadParameter: one sentence, when the file cannot be read or has an unknown name.
    """
    for warning in dotenv_warnings(_variables(ctx.command), lambda: _variables_of_all(ctx)):
        click.echo(f"Warning: {warning}", err=True)
    if path is None:
        return
    try:
        for warning in access_warnings(path):
            click.echo(f"Warning: {warning}", err=True)
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be read ({error.strerror}).", ctx, param) from error
    except ValueError as error:  # tomllib's errors, and text that is not UTF-8
        raise click.BadParameter(f"{path} is not TOML: {error}.", ctx, param) from error
    named = {name.replace("-", "_"): value for name, value in values.items()}
    _check_names(named, ctx, param, path)
    for option in ctx.command.params:
        if isinstance(option, click.Option) and option.name in named:
            try:
                named[option.name] = _fitting(option, named[option.name], ctx)
            except click.BadParameter as error:
                name = option.name.replace("_", "-")
                raise click.BadParameter(f"{path}: {name}: {error.message}", ctx, param) from error
    # click gives these less precedence than command line and environment.
    ctx.default_map = {**(ctx.default_map or {}), **named}


def _fitting(option: click.Option, value: Any, ctx: click.Context) -> Any:
    """Return a file's value in the form that the option takes.

    Raises:
        click.BadParameter: when its type or value is invalid for the option.
    """
    if option.multiple and isinstance(value, str):
        value = [value]
    if isinstance(value, list) and not option.multiple:
        raise click.BadParameter(f"expected one value, got the list {value!r}.")
    for one in value if isinstance(value, list) else [value]:
        if option.is_flag and not isinstance(one, bool):
            raise click.BadParameter(f"expected true or false, got {one!r}.")
        if isinstance(option.type, (click.Path, click.types.StringParamType)) and not isinstance(one, str):
            raise click.BadParameter(f'expected text in quotes, "…", got {one!r}.')
    # Only to raise its error: click converts the value again on use.
    option.type_cast_value(ctx, value)
    return value


def _check_names(named: dict[str, Any], ctx: click.Context, param: click.Parameter, path: Path) -> None:
    known = {option.name for option in ctx.command.params if option.name}
    # Other commands are imported only for a name that this one does not have.
    if not named.keys() <= known and ctx.parent is not None:
        known |= _names_of_all(ctx.parent)
    for name, value in named.items():
        if name not in known:
            if isinstance(value, dict):
                raise click.BadParameter(
                    f"{path}: [{name}] is a section, and this file has none: write the options without a "
                    "heading.",
                    ctx,
                    param,
                )
            like = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {like[0].replace('_', '-')}?" if like else "."
            raise click.BadParameter(f"{path}: there is no option {name.replace('_', '-')}{hint}", ctx, param)
        if isinstance(value, dict):
            raise click.BadParameter(
                f"{path}: expected a value for {name}, got a table; write {name} = …, outside [tables].",
                ctx,
                param,
            )


def _variables_of_all(ctx: click.Context) -> set[str]:
    """Return the environment variables of all commands' options."""
    return set[str]().union(*(_variables(one) for one in _commands(ctx.find_root())))


def _variables(command: click.Command) -> set[str]:
    return {option.envvar for option in command.params if isinstance(option.envvar, str)}


def _names_of_all(group_context: click.Context) -> set[str]:
    """Return the names of all commands' options."""
    return {option.name for one in _commands(group_context) for option in one.params if option.name}


def _commands(group_context: click.Context) -> list[click.Command]:
    group = group_context.command
    if not isinstance(group, click.Group):
        return [group]
    commands = list[click.Command]()
    for name in group.list_commands(group_context):
        with suppress(click.ClickException):  # an extra's packages are not installed
            if one := group.get_command(group_context, name):
                commands += [one, *(one.commands.values() if isinstance(one, click.Group) else ())]
    return commands
