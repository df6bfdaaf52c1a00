"""Loading of the file ``.env`` into the environment, with warnings about likely mistakes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import click
from dotenv import find_dotenv, load_dotenv

from moshi_phone.commands.dotenv_names import cut_texts, read_bindings, unknown_names

_loaded: list[Path] = []  # at most one: the lines of later warnings and errors are looked up in it


def load_dotenv_file() -> None:
    """Load ``.env`` from this folder or one above it into the environment, and print warnings.

    Write access to the file is control over this program and its accounts.
    """
    found = find_dotenv(usecwd=True)
    if not found:
        return
    for warning in warnings_about(Path(found), Path.cwd()):
        click.echo(f"Warning: {warning}", err=True)
    load_dotenv(found)
    _loaded.append(Path(found))


def dotenv_warnings(own: set[str], names: Callable[[], set[str]]) -> list[str]:
    """Return one sentence for each entry of the loaded file without effect.

    Args:
        own: variables of the running command.
        names: returns those of all commands, which takes time.
    """
    warnings = list[str]()
    for path in _loaded:
        bindings = read_bindings(path)
        warnings += [*unknown_names(path, bindings, own, names), *cut_texts(path, bindings)]
    return warnings


def place_of(variable: str) -> str:
    """Return the line of ``.env`` that set a variable, as the end of a sentence."""
    for path in _loaded:
        found = [one for one in read_bindings(path) if one.key == variable]
        # The last entry counts, unless the variable was set before.
        if found and found[-1].value == os.environ.get(variable):
            return f" (line {found[-1].original.line} of {path})"
    return ""


def warnings_about(path: Path, folder: Path) -> list[str]:
    """Return one sentence for each likely mistake in a ``.env``.

    Args:
        path: of the file.
        folder: where the program was started.
    """
    warnings = []
    if path.parent != folder:
        warnings.append(f"settings come from {path}, of a folder above this one.")
    return warnings + access_warnings(path)


def access_warnings(path: Path) -> list[str]:
    """Return a sentence if other users can read or change a settings file.

    Args:
        path: of the file.
    """
    warnings = []
    if os.name == "posix":
        status = path.stat()
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            warnings.append(
                f"others on this machine can write to {path}, and so change what this program does: "
                f"chmod 600 {path}"
            )
        elif status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
            warnings.append(
                f"others on this machine can read {path}, and the secrets in it: chmod 600 {path}"
            )
        if status.st_uid not in (0, os.getuid()):
            warnings.append(f"{path} belongs to another user, who can change what this program does.")
    return warnings
