"""Builds the wheel, in which ``processors/``, ``pipelines/`` and ``bot.py`` are inside ``moshi_phone/``.

In the repository they are at the root, where a newcomer looks for them, and are imported as
``processors.moshi``. At the top level of a user's environment such names could collide with others, so the
wheel has one top-level package: ``moshi_phone.processors.moshi``. This hook copies the files there and adapts
the imports; ``tests/test_wheel.py`` tests the installed wheel.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "moshi_phone"
MOVED = ("processors", "pipelines", "bot.py")
_NAMES = "|".join(name.removesuffix(".py") for name in MOVED)
_IMPORT = re.compile(rf"^(\s*)(from|import) ({_NAMES})\b", re.MULTILINE)
# "import processors.moshi" binds the name processors, which the wheel has no such module for.
_BARE_IMPORT = re.compile(rf"^\s*import ({_NAMES})(\.\w+)*\s*(#.*)?$", re.MULTILINE)
_SPEC = re.compile(rf"(?<![\w./])({_NAMES})((?:\.\w+)+:\w+)")  # MODULE:NAME, as in --pipeline


class InsidePackage(BuildHookInterface[Any]):
    """Puts the root's packages into the wheel's package."""

    _folder = ""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Stage the package's files for the wheel; an sdist holds the repository as it is."""
        if self.target_name != "wheel" or version == "editable":
            return
        root = Path(self.root)
        self._folder = tempfile.mkdtemp()
        staged = Path(self._folder) / PACKAGE
        shutil.copytree(root / PACKAGE, staged, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        for name in MOVED:
            source = root / name
            if source.is_dir():
                shutil.copytree(source, staged / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                shutil.copy2(source, staged / name)
        for path in staged.rglob("*.py"):
            path.write_text(rewritten(path.read_text("utf-8"), path.name), "utf-8")
        build_data["force_include"][str(staged)] = PACKAGE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what was staged."""
        if self._folder:
            shutil.rmtree(self._folder)


def rewritten(source: str, name: str) -> str:
    """Give a module's text with its imports as they are inside the package.

    Raises:
        ValueError: when an import cannot be rewritten.
    """
    if bare := _BARE_IMPORT.search(source):
        raise ValueError(
            f"{name}: expected 'from … import …' or 'import … as …', got {bare.group().strip()!r}"
        )
    return _SPEC.sub(rf"{PACKAGE}.\1\2", _IMPORT.sub(rf"\1\2 {PACKAGE}.\3", source))
