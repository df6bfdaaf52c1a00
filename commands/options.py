"""Makes command-line options from the fields of a dataclass.

Each area declares its options beside its code as a dataclass (``EngineOptions``, ``ServerOptions``, …);
``@takes(EngineOptions)`` gives a command all of them, and hands it one instance.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import click

R = TypeVar("R")

ENVIRONMENT_PREFIX = "MOSHI_"


def takes(
    settings: type[Any], *, without: Collection[str] = ()
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Give a command every field of a dataclass as an option, and the filled dataclass as an argument.

    The argument is named for the class: ``EngineOptions`` arrives as ``engine_options``. A field's
    metadata may say ``help``, ``envvar`` (default: ``MOSHI_`` and the field's name), ``min``, ``max``,
    ``metavar``.

    Args:
        settings: the dataclass.
        without: fields that are no options of this command; they keep their defaults.
    """
    hints = get_type_hints(settings)
    fields = [item for item in dataclasses.fields(settings) if item.name not in without]
    argument = "".join(f"_{c.lower()}" if c.isupper() else c for c in settings.__name__).lstrip("_")

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(command)
        def run(*args: Any, **values: Any) -> R:
            own = {f.name: values.pop(f.name) for f in fields}
            return command(*args, **{argument: settings(**own)}, **values)

        wrapped: Callable[..., R] = run
        for item in reversed(fields):
            wrapped = _option(item, hints[item.name])(wrapped)
        return wrapped

    return decorate


def as_environment(settings: Any) -> dict[str, str]:
    """Give a filled dataclass as the environment variables that make another process fill it alike."""
    given = {_envvar(item): getattr(settings, item.name) for item in dataclasses.fields(settings)}
    return {name: "" if value is None else str(value) for name, value in given.items()}


def _envvar(item: dataclasses.Field[Any]) -> str:
    return str(item.metadata.get("envvar", ENVIRONMENT_PREFIX + item.name.upper()))


def _option(item: dataclasses.Field[Any], hint: Any) -> Callable[[Callable[..., R]], Callable[..., R]]:
    flag = "--" + item.name.replace("_", "-")
    meta = item.metadata
    required_type, is_flag = _click_type(hint, meta)
    return click.option(
        f"{flag}/--no-{flag[2:]}" if is_flag and item.default is True else flag,
        item.name,
        type=required_type,
        is_flag=is_flag,
        default=item.default,
        show_default=item.default not in (None, False, ""),
        envvar=_envvar(item),
        show_envvar=True,
        metavar=meta.get("metavar"),
        help=meta["help"],
    )


def _click_type(
    hint: Any, meta: types.MappingProxyType[Any, Any]
) -> tuple[click.ParamType[Any] | None, bool]:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(arm for arm in get_args(hint) if arm is not type(None))
    if get_origin(hint) is Literal:
        return click.Choice([str(value) for value in get_args(hint)]), False
    if hint is bool:
        return None, True
    if hint is int:
        return click.IntRange(meta.get("min"), meta.get("max")), False
    if hint is float:
        return click.FloatRange(meta.get("min"), meta.get("max")), False
    if hint is Path:
        return click.Path(path_type=Path), False
    return click.STRING, False
