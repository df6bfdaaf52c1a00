"""The file ``.env``: found, checked for what may be wrong with it, and added to the environment."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import click
from dotenv import find_dotenv, load_dotenv

from moshi_phone.commands.dotenv_names import cut_texts, read_bindings, unknown_names

_loaded: list[Path] = []


def load_dotenv_file() -> None:
    """Add what ``.env`` of this folder, or of one above it, says to the environment, with warnings.

    Whoever can write the file decides what this program does, and with whose account.
    """
    found = find_dotenv(usecwd=True)
    if not found:
        return
    for warning in warnings_about(Path(found), Path.cwd()):
        click.echo(f"Warning: {warning}", err=True)
    load_dotenv(found)
    _loaded.append(Path(found))


def dotenv_warnings(own: set[str], names: Callable[[], set[str]]) -> list[str]:
    """Say what in the file that was loaded has no effect, a sentence each.

    Args:
        own: the variables of the command that runs.
        names: gives those of all commands, which takes a while.
    """
    warnings = list[str]()
    for path in _loaded:
        bindings = read_bindings(path)
        warnings += [*unknown_names(path, bindings, own, names), *cut_texts(path, bindings)]
    return warnings


def place_of(variable: str) -> str:
    """Say which line a variable of the environment comes from, to be put behind a sentence."""
    for path in _loaded:
        found = [one for one in read_bindings(path) if one.key == variable]
        # The last one counts, unless the environment had it before.
        if found and found[-1].value == os.environ.get(variable):
            return f" (line {found[-1].original.line} of {path})"
    return ""


def warnings_about(path: Path, folder: Path) -> list[str]:
    """Say what may be wrong with a ``.env``, a sentence each.

    Args:
        path: of the file.
        folder: where the program was started.
    """
    warnings = []
    if path.parent != folder:
        warnings.append(f"settings come from {path}, of a folder above this one.")
    return warnings + access_warnings(path)


def access_warnings(path: Path) -> list[str]:
    """Say who else can read or change a file of settings, a sentence each.

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
