"""Docstrings name existing things: each documented argument is a parameter, each attribute in its class."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.metrics import ROOT

ROOMS = ("moshi_phone", "pipelines", "processors", "bot.py")
_NAMES = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*):", re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.ClassDef | Function


def documented(docstring: str, section: str) -> set[str]:
    """Return the names in a section of a docstring."""
    found = re.search(rf"^{section}:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    names = _NAMES.findall(found[1]) if found else []
    return {name.strip().lstrip("*") for line in names for name in line.split(",")}


def parameters(function: Function) -> set[str]:
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return {argument.arg for argument in every if argument is not None}


def definitions() -> Iterator[tuple[str, Definition, list[str]]]:
    """Return each class and function with its location and the lines of its file."""
    for room in ROOMS:
        path = ROOT / room
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            if "vendor" in file.parts:
                continue
            source = file.read_text(encoding="utf-8")
            waiting: list[ast.AST] = [ast.parse(source)]
            while waiting:
                for node in getattr(waiting.pop(), "body", ()):
                    waiting.append(node)
                    if isinstance(node, Definition):
                        yield f"{file.relative_to(ROOT)}:{node.lineno} {node.name}", node, source.splitlines()


@pytest.mark.slow
def test_docstrings_name_existing_parameters_and_attributes() -> None:
    found = list(definitions())
    code, bases = dict[str, str](), dict[str, list[str]]()
    for _, node, lines in found:
        if isinstance(node, ast.ClassDef):
            # Behind the docstring, which would prove itself.
            # Classes of one name share their code here: such a name is looked for in all of them.
            code[node.name] = code.get(node.name, "") + "\n".join(
                lines[node.body[0].end_lineno or 0 : node.end_lineno]
            )
            bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]

    def has(owner: str, name: str) -> bool:
        own = re.search(rf"\b{name}\b", code.get(owner, "")) is not None
        return own or any(has(base, name) for base in bases.get(owner, ()))

    wrong = []
    for place, node, _ in found:
        text = ast.get_docstring(node) or ""
        made_by: ast.AST | None = node
        if isinstance(node, ast.ClassDef):
            wrong += [(place, name) for name in documented(text, "Attributes") if not has(node.name, name)]
            made_by = next((part for part in node.body if getattr(part, "name", "") == "__init__"), None)
        if isinstance(made_by, Function):
            wrong += [(place, name) for name in documented(text, "Args") - parameters(made_by)]
    assert wrong == []
