"""Code and commands in README.md and docs/."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
SHELL = ("sh", "bash", "console")

_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")
_COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*(?:uv|python3?|\.ci/run|brew|pipx|winget|git|export)(?: .*|$)")
_OPTIONS = re.compile(r"--[a-z-]+(?: .+)?")
_SETTING = re.compile(r"[A-Z_]+=\S+")
_COMMENT = re.compile(r"\s+# .*")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return a page's code blocks: language and text."""
    return _BLOCK.findall(page.read_text())


def commands_in_blocks(page: Path) -> list[str]:
    """Return the typed lines of a page's shell blocks: those behind ``$`` if there is one."""
    found = list[str]()
    for language, block in blocks(page):
        if language not in SHELL:
            continue
        lines = [line.strip() for line in re.sub(r"\\\n\s*", "", block).splitlines()]
        if any(line.startswith("$ ") for line in lines):
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        found += [_COMMENT.sub("", line) for line in lines if line and not _SETTING.fullmatch(line)]
    return found


def commands_in_text(page: Path) -> list[str]:
    """Return the commands within a page's sentences."""
    return [span for span in _spans(page) if _COMMAND.fullmatch(span)]


def options_in_text(page: Path) -> list[str]:
    """Return the options within a page's sentences, with their values if they have one."""
    return [span for span in _spans(page) if _OPTIONS.fullmatch(span)]


def _spans(page: Path) -> list[str]:
    """Return the text between backticks, each on one line."""
    return [" ".join(span.split()) for span in _INLINE.findall(_BLOCK.sub("", page.read_text()))]
