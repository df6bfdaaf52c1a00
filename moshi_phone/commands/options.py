"""Makes command-line options from the fields of a dataclass, and a command from a function.

Each package declares its options as a dataclass (``EngineOptions``, ``ServerOptions``, …);
``@options_from(EngineOptions)`` adds them to a command, which gets the filled dataclass. A value comes from
the command line, else from the environment (or ``.env``), else from the settings file (``--config``), else
it is the field's default. click does all of that; cloup sorts ``--help`` into groups.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, TypeGuard, TypeVar, Union, get_args, get_origin, get_type_hints

import click
import cloup

from moshi_phone.commands.numbers import Number, PhoneNumbers, WholeNumber
from moshi_phone.commands.settings_file import read_settings_file
from moshi_phone.commands.texts import Texts, join_texts

R = TypeVar("R")
T = TypeVar("T")

ENVIRONMENT_PREFIX = "MOSHI_"
ADVANCED = "advanced"  # shown by --help-all only
GROUPS = {
    name: cloup.OptionGroup(title)
    for name, title in {
        "parts": "Engine and pipeline",
        "engine": "Model and servers",
        "voice": "Voice and persona",
        "phone": "Phone number and network",
        "calls": "During a call",
        "cluster": "Cluster",
        "web": "Dashboard and monitoring",
        "keep": "Recordings and transcripts",
        "rehearsal": "Rehearsal",
        ADVANCED: "Advanced",
    }.items()
}


def command(
    short_help: str | None = None, cls: type[cloup.Command] = cloup.Command, **more: Any
) -> Callable[[Callable[..., Any]], cloup.Command]:
    """Make a function a command with a settings file, and with options in groups.

    Args:
        short_help: its line in a group's list of commands; the program's own list is in ``commands/main.py``.
        cls: the command's class, such as a group of commands.
        more: further arguments of that class.
    """

    def decorate(run: Callable[..., Any]) -> cloup.Command:
        with_config = cloup.option(
            "--config",
            metavar="FILE",
            type=click.Path(path_type=Path),
            is_eager=True,  # evaluated before any other option
            expose_value=False,
            callback=read_settings_file,
            envvar=ENVIRONMENT_PREFIX + "CONFIG",
            show_envvar=True,
            help="TOML file with options; the environment and the command line take precedence.",
        )(run)
        made: cloup.Command = cloup.command(
            cls=cls,
            short_help=short_help,
            context_settings={"max_content_width": 100},
            show_constraints=False,
            **more,
        )(with_config)
        own_groups(made)
        if any(group.hidden for group in made.option_groups):
            help_all = _help_all()
            made.params.append(help_all)
            made.ungrouped_options = [*made.ungrouped_options, help_all]  # cloup's help reads it
        return made

    return decorate


def own_groups(made: cloup.Command) -> cloup.Command:
    """Give a command option groups of its own, in the order of ``GROUPS``.

    cloup stores the options of the last command in the groups themselves.
    """
    groups = []
    for group in GROUPS.values():
        own = cloup.OptionGroup(group.title)
        own.options = [one for one in made.params if isinstance(one, cloup.Option) and one.group is group]
        own.hidden = group is GROUPS[ADVANCED]
        groups += [own] if own.options else []
    made.option_groups = groups
    return made


def _help_all() -> cloup.Option:
    """Create ``--help-all``, which shows advanced options, too."""

    def show(context: click.Context, _: click.Parameter, *, is_given: bool) -> None:
        if not is_given:
            return
        made = context.command
        assert isinstance(made, cloup.Command)  # noqa: S101 - only ``command`` adds this option
        hidden = [group for group in made.option_groups if group.hidden]
        for group in hidden:
            group.hidden = False
        click.echo(context.get_help())
        for group in hidden:  # undone: the process may invoke the same command object again
            group.hidden = True
        context.exit()

    return cloup.Option(
        ["--help-all"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=lambda context, parameter, is_given: show(context, parameter, is_given=is_given),
        help="Show all options, including advanced ones, and exit.",
    )


def options_from(
    settings: type[Any], *, without: Collection[str] = (), only: Collection[str] | None = None
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Add every field of a dataclass to a command as an option, and pass it the filled dataclass.

    The argument's name follows the class: ``EngineOptions`` is passed as ``engine_options``. A field that is
    a dataclass adds its own fields. A field's metadata may contain ``help``, ``group`` (a key of
    ``GROUPS``; the class's ``GROUP`` otherwise), ``envvar`` (default: ``MOSHI_`` and the field's name),
    ``min``, ``max``, ``metavar``. A field of the type ``tuple[str, ...]`` may be given several times; its
    variable is split at blanks, or with ``texts`` at semicolons.

    Args:
        settings: the dataclass.
        without: fields to leave out; they keep their defaults.
        only: if given, the only fields to add.
    """
    fields = [
        one for one in _flat(settings) if one[0].name not in without and (only is None or one[0].name in only)
    ]
    argument = "".join(f"_{c.lower()}" if c.isupper() else c for c in settings.__name__).lstrip("_")

    def decorate(run: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(run)
        def filled(*args: Any, **values: Any) -> R:
            # Popped: only the command's own arguments stay in values.
            own = {item.name: values.pop(item.name) for item, _, _ in fields}
            return run(*args, **{argument: _filled(settings, own)}, **values)

        wrapped: Callable[..., R] = filled
        for item, hint, group in reversed(fields):  # --help lists the last decorator's option first
            wrapped = _option(item, hint, GROUPS[group])(wrapped)
        return wrapped

    return decorate


def phone_number_option(help_text: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Return the decorator for ``--number``, with a help text for each command."""
    return cloup.option(
        "--number",
        group=GROUPS["phone"],
        type=PhoneNumbers(),
        multiple=True,
        metavar="NUMBER",
        envvar="TWILIO_NUMBER",
        show_envvar=True,
        help=help_text,
    )


def from_environment(settings: type[T]) -> T:
    """Fill a dataclass from the environment, with the command line's names and checks.

    Raises:
        click.UsageError: when a variable's value is invalid for its option.
    """

    @cloup.command()
    @options_from(settings)
    def read(**filled: T) -> T:
        [one] = filled.values()
        return one

    # An empty command line: values come from the environment only, and errors are raised, not printed.
    made: T = read.main([], standalone_mode=False)
    return made


def as_environment(settings: Any) -> dict[str, str]:
    """Return the environment variables with which another process fills the same dataclass equally."""
    environment = dict[str, str]()
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        environment |= (
            as_environment(value)
            if dataclasses.is_dataclass(value)
            else {_envvar(item): _as_text(value, are_texts="texts" in item.metadata)}
        )
    return environment


def _flat(settings: type[Any]) -> list[tuple[dataclasses.Field[Any], Any, str]]:
    """Return the fields of a dataclass, also nested ones, each with its type and its group."""
    hints = get_type_hints(settings)  # with postponed annotations, a field's own type is a string
    flat = list[tuple[dataclasses.Field[Any], Any, str]]()
    for item in dataclasses.fields(settings):
        hint = hints[item.name]
        if _is_dataclass(hint):
            flat += _flat(hint)
        else:
            flat.append((item, hint, item.metadata.get("group") or settings.GROUP))
    return flat


def _filled(settings: type[Any], values: dict[str, Any]) -> Any:
    """Fill a dataclass, also nested ones, with the given values."""
    hints = get_type_hints(settings)
    parts = {name: _filled(hint, values) for name, hint in hints.items() if _is_dataclass(hint)}
    # Not nested dataclasses: one may have the same name as an option of another.
    names = [item.name for item in dataclasses.fields(settings) if item.name not in parts]
    return settings(**parts, **{name: values[name] for name in names if name in values})


def _is_dataclass(hint: Any) -> TypeGuard[type[Any]]:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _as_text(value: Any, *, are_texts: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):  # as click splits it
        return join_texts(value) if are_texts else " ".join(value)
    return str(value)


def _envvar(item: dataclasses.Field[Any]) -> str:
    return str(item.metadata.get("envvar", ENVIRONMENT_PREFIX + item.name.upper()))


def _option(
    item: dataclasses.Field[Any], hint: Any, group: cloup.OptionGroup
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    flag = "--" + item.name.replace("_", "-")
    meta = item.metadata
    required_type, is_flag, is_multiple = _click_type(hint, meta)
    return cloup.option(
        f"{flag}/--no-{flag[2:]}" if is_flag and item.default is True else flag,
        item.name,
        group=group,
        type=required_type,
        is_flag=is_flag,
        multiple=is_multiple,
        default=item.default,
        show_default=item.default not in (None, False, "", ()),
        envvar=_envvar(item),
        show_envvar=True,
        metavar=meta.get("metavar"),
        help=meta["help"],
    )


def _click_type(
    hint: Any, meta: types.MappingProxyType[Any, Any]
) -> tuple[click.ParamType[Any] | None, bool, bool]:
    """Return click's type for a field, whether it is a flag, and whether it may be repeated."""
    # ``int | None`` is an int option whose default is None.
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(arm for arm in get_args(hint) if arm is not type(None))
    if get_origin(hint) is tuple:
        return Texts() if "texts" in meta else click.STRING, False, True
    if hint is bool:
        return None, True, False
    kinds: dict[Any, click.ParamType[Any]] = {
        int: WholeNumber(meta.get("min"), meta.get("max"), meta.get("words")),
        float: Number(meta.get("min"), meta.get("max")),
        Path: click.Path(path_type=Path),
    }
    if get_origin(hint) is Literal:
        return click.Choice([str(value) for value in get_args(hint)]), False, False
    return kinds.get(hint, click.STRING), False, False
