"""Measures the code: ``uv run python -m tests.support.metrics``, for this checkout or for ``--root FOLDER``.

Tests, benchmarks, examples and docs are left out. A function's length counts its lines from ``def`` to its
end; its parameters leave out ``self`` and ``cls``. A comment is a line of its own or follows code; docstrings
do not count.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import tokenize
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

LEFT_OUT = {"benchmarks", "deploy", "docs", "examples", "node_modules", "tests"}
SHORT_LINES = 60
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Module:
    """What is counted of one file.

    Attributes:
        package: the folder that it lies in, relative to the root.
        lines: of the file.
        comments: tokens that are comments.
        functions: length in lines and number of parameters of each function.
        is_empty: an ``__init__.py`` with nothing but a docstring.
    """

    package: str
    lines: int
    comments: int
    functions: list[tuple[int, int]]
    is_empty: bool


def measure(path: Path, root: Path) -> Module:
    """Count one file."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    functions = [
        ((node.end_lineno or node.lineno) - node.lineno + 1, _parameters(node.args))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return Module(
        package=str(path.parent.relative_to(root)),
        lines=len(source.splitlines()),
        comments=sum(token.type == tokenize.COMMENT for token in tokens),
        functions=functions,
        is_empty=path.name == "__init__.py" and len(tree.body) <= 1,
    )


def modules(root: Path) -> list[Module]:
    """Measure every module of the program below a folder."""
    paths = (path for path in sorted(root.rglob("*.py")) if _counts(path.relative_to(root)))
    return [module for path in paths if not (module := measure(path, root)).is_empty]


def table(found: list[Module]) -> str:
    """Set the figures of all modules, and the number of files of each folder, in Markdown."""
    lines = sorted(module.lines for module in found)
    functions = [function for module in found for function in module.functions]
    total = sum(lines)
    rows = {
        "files": len(found),
        "lines": total,
        "median": round(statistics.median(lines)),
        "p90": lines[int(0.9 * (len(lines) - 1))],
        "max": lines[-1],
        f"files < {SHORT_LINES} lines": f"{sum(n < SHORT_LINES for n in lines) / len(lines):.0%}",
        "comments / 1,000": round(1000 * sum(module.comments for module in found) / total),
        "longest function": max(length for length, _ in functions),
        "most parameters": max(count for _, count in functions),
    }
    folders = Counter(module.package for module in found)
    return "\n".join(
        [
            f"| {' | '.join(rows)} |",
            f"|{'---|' * len(rows)}",
            f"| {' | '.join(str(value) for value in rows.values())} |",
            "",
            "| folder | files |",
            "|---|---|",
            *(f"| `{folder}` | {count} |" for folder, count in sorted(folders.items())),
        ]
    )


def _counts(path: Path) -> bool:
    return not any(part in LEFT_OUT or part.startswith(".") for part in path.parts)


def _parameters(arguments: ast.arguments) -> int:
    names = [arg.arg for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in {"self", "cls"}])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure")
    print(table(modules(parser.parse_args().root.resolve())))  # noqa: T201
