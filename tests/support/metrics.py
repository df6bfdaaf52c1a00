"""Measures the code: ``uv run python -m tests.support.metrics``, for this checkout or for ``--root FOLDER``.

Tests, benchmarks, examples, docs and third-party code (``vendor``) are left out of all tables but the last. A
function's length counts its lines from ``def`` to its end; its parameters leave out ``self`` and ``cls``. A
comment is a line of its own or follows code; docstrings do not count. An arrow is an import of one module, or
room, by another; a room is a folder, and arrows between it and its own folders are left out. Floors are the
length of the longest chain of arrows.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

LEFT_OUT = {"benchmarks", "deploy", "docs", "examples", "node_modules", "tests", "vendor"}
SHORT_LINES, LONG_LINES = 60, 300
LONG_FUNCTION_LINES = 50
ROOT = Path(__file__).parents[2]

Arrows = dict[str, set[str]]


@dataclass(frozen=True)
class Module:
    """Counts of one file.

    Attributes:
        name: dotted, relative to the root.
        package: the folder that it lies in, relative to the root.
        lines: of the file.
        comments: tokens that are comments.
        docstring_lines: of all docstrings.
        functions: length in lines and number of parameters of each function.
        imports: dotted names that it imports, of modules or of what is in them.
        is_empty: an ``__init__.py`` with nothing but a docstring.
    """

    name: str
    package: str
    lines: int
    comments: int
    docstring_lines: int
    functions: list[tuple[int, int]]
    imports: frozenset[str]
    is_empty: bool


def measure(path: Path, root: Path) -> Module:
    """Measure one file."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    functions = [
        (_length(node), _parameters(node.args))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    name = ".".join(path.relative_to(root).with_suffix("").parts)
    return Module(
        name=name.removesuffix(".__init__"),
        package=str(path.parent.relative_to(root)),
        lines=len(source.splitlines()),
        comments=sum(token.type == tokenize.COMMENT for token in tokens),
        docstring_lines=sum(_docstring_lines(node) for node in ast.walk(tree)),
        functions=functions,
        imports=frozenset(_imports(tree)),
        is_empty=path.name == "__init__.py" and len(tree.body) <= 1,
    )


def modules(root: Path) -> list[Module]:
    """Measure every module of the program below a folder."""
    paths = (path for path in sorted(root.rglob("*.py")) if _counts(path.relative_to(root)))
    return [module for path in paths if not (module := measure(path, root)).is_empty]


def report(found: Sequence[Module]) -> str:
    """Return all tables but that of the tests, in Markdown."""
    functions = [function for module in found for function in module.functions]
    lengths = sorted(length for length, _ in functions)
    files, rooms = arrows(found)
    tables = [
        _table([_sizes(found)]),
        _table(
            [
                {
                    "functions": len(functions),
                    "lines, median": round(statistics.median(lengths)),
                    "p90": _p90(lengths),
                    f"> {LONG_FUNCTION_LINES} lines": sum(n > LONG_FUNCTION_LINES for n in lengths),
                    "longest": lengths[-1],
                    "parameters, p90": _p90(sorted(count for _, count in functions)),
                    "most": max(count for _, count in functions),
                    "docstring lines": f"{_share(found, 'docstring_lines'):.0%}",
                }
            ]
        ),
        _table([_arrow_row("files", files), _arrow_row("rooms", rooms)]),
        _table({"room": f"`{room}`", **_sizes(inside)} for room, inside in sorted(_by_room(found).items())),
    ]
    if long := sorted((module for module in found if module.lines > LONG_LINES), key=lambda one: -one.lines):
        tables.append(_table({f"> {LONG_LINES} lines": f"`{one.name}`", "lines": one.lines} for one in long))
    return "\n\n".join(tables)


def arrows(found: Iterable[Module]) -> tuple[Arrows, Arrows]:
    """Return what each module imports, and what each room imports of others."""
    rooms = {module.name: module.package for module in found}
    between_files: Arrows = {name: set() for name in rooms}
    between_rooms: Arrows = {room: set() for room in rooms.values()}
    for module in found:
        for imported in module.imports:
            target = imported if imported in rooms else imported.rpartition(".")[0]
            if target in rooms and target != module.name:
                between_files[module.name].add(target)
                if not _is_inside(rooms[target], module.package):
                    between_rooms[module.package].add(rooms[target])
    return between_files, between_rooms


def _is_inside(one: str, other: str) -> bool:
    """Whether one folder contains the other: its own files may be above and below those of its folders."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def floors(graph: Mapping[str, set[str]]) -> str:
    """Return the length of the longest chain, or a circle."""
    height: dict[str, int] = {}
    try:
        for name in TopologicalSorter(graph).static_order():
            height[name] = 1 + max((height[below] for below in graph[name]), default=0)
    except CycleError as error:
        return f"circle: {' → '.join(error.args[1])}"
    return str(max(height.values(), default=0))


def count_tests(root: Path) -> str:
    """Count the tests' files, lines and functions."""
    sources = [path.read_text(encoding="utf-8") for path in (root / "tests").rglob("*.py")]
    lines = [len(source.splitlines()) for source in sources]
    functions = sum(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        for source in sources
        for node in ast.walk(ast.parse(source))
    )
    short = sum(n < SHORT_LINES for n in lines)
    return _table(
        [
            {
                "tests' files": len(lines),
                "lines": sum(lines),
                f"< {SHORT_LINES} lines": short,
                "functions": functions,
            }
        ]
    )


def _sizes(found: Sequence[Module]) -> dict[str, object]:
    lines = sorted(module.lines for module in found)
    functions = [function for module in found for function in module.functions] or [(0, 0)]
    return {
        "files": len(found),
        "lines": sum(lines),
        "median": round(statistics.median(lines)),
        "p90": _p90(lines),
        "max": lines[-1],
        f"files < {SHORT_LINES} lines": f"{sum(n < SHORT_LINES for n in lines) / len(lines):.0%}",
        "comments / 1,000": round(1000 * _share(found, "comments")),
        "longest function": max(length for length, _ in functions),
        "most parameters": max(count for _, count in functions),
    }


def _arrow_row(what: str, graph: Arrows) -> dict[str, object]:
    return {
        "between": what,
        "count": len(graph),
        "arrows": sum(map(len, graph.values())),
        "floors": floors(graph),
    }


def _by_room(found: Iterable[Module]) -> dict[str, list[Module]]:
    rooms = defaultdict[str, list[Module]](list)
    for module in found:
        rooms[module.package].append(module)
    return rooms


def _table(rows: Iterable[Mapping[str, object]]) -> str:
    rows = list(rows)
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(found: Iterable[Module], what: str) -> float:
    found = list(found)
    counted: int = sum(getattr(module, what) for module in found)
    return counted / sum(module.lines for module in found)


def _p90(values: Sequence[int]) -> int:
    return values[int(0.9 * (len(values) - 1))]


def _counts(path: Path) -> bool:
    return not any(part in LEFT_OUT or part.startswith(".") for part in path.parts)


def _length(node: ast.stmt | ast.expr) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _docstring_lines(node: ast.AST) -> int:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return 0
    has_docstring = ast.get_docstring(node, clean=False) is not None
    return _length(node.body[0]) if has_docstring else 0


def _imports(tree: ast.Module) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _parameters(arguments: ast.arguments) -> int:
    names = [arg.arg for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in {"self", "cls"}])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure")
    root = parser.parse_args().root.resolve()
    print(report(modules(root)), count_tests(root), sep="\n\n")  # noqa: T201
