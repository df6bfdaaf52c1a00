"""The user's own parts, named on the command line as ``MODULE:NAME``."""

from __future__ import annotations

import difflib
import importlib
import sys
from pathlib import Path
from typing import Any

from moshi_phone.runtime.errors import UserError, describe_error


class PluginUnfit(UserError):
    """The named object does not exist, or has the wrong type. The text is one sentence."""


def load(spec: str, option: str) -> Any:
    """Import the object ``MODULE:NAME``, from the working folder or an installed package.

    Args:
        spec: as in ``my_engine:MyEngine``.
        option: the option that names it, for the error.

    Raises:
        PluginUnfit: when there is no such module or name, or importing it fails.
    """
    module_name, _, name = spec.partition(":")
    if not (module_name and name):
        raise PluginUnfit(f"{option}: expected MODULE:NAME, such as my_parts:MyPart, got {spec!r}.")
    if module_name.endswith(".py") or {"/", "\\"} & set(module_name):
        dotted = module_name.removesuffix(".py").replace("\\", "/").strip("./").replace("/", ".")
        raise PluginUnfit(f"{option}: expected a module's name, not a file's: {dotted}:{name}, got {spec!r}.")
    here = str(Path.cwd())
    if here not in sys.path:  # uv run /elsewhere/bot.py has bot.py's folder there, not this one
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise PluginUnfit(
                f"{option}: there is no module {module_name} in this folder or among the installed packages."
            ) from error
        raise PluginUnfit(
            f"{option}: {module_name} needs the package {error.name}, which is missing."
        ) from error
    except Exception as error:  # the user's module may raise anything on import
        raise PluginUnfit(f"{option}: {module_name} cannot be imported ({describe_error(error)}).") from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        like = difflib.get_close_matches(name, vars(module), 1)
        hint = f"; did you mean {like[0]}?" if like else "."
        raise PluginUnfit(f"{option}: the module {module_name} has no {name}{hint}") from error
