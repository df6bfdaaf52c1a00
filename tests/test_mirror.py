"""Each module has its tests at the mirrored path, or says under its docstring where else they are.

``# Tested in tests/….py.``: that file imports the module, or names the command that it is, or has a helper
from ``tests/`` that does. ``# Tested in tests/….py by way of room/other.py.``: the same is true of the other
module, and that one imports this one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = (
    "access",
    "audio",
    "cluster",
    "commands",
    "engines",
    "examples",
    "hooks",
    "pipelines",
    "processors",
    "records",
    "rehearse",
    "runtime",
    "server",
    "telephony",
)
ELSEWHERE = re.compile(
    r"# Tested in (?P<tests>tests/\S+\.py(?:(?:, | and )tests/\S+\.py)*)(?: by way of (?P<way>\S+\.py))?\."
)


def modules() -> Iterator[Path]:
    """The product's modules, relative to the repository; a package that only has a docstring is none."""
    yield Path("bot.py")
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if path.name != "__init__.py" or len(ast.parse(path.read_text()).body) > 1:
                yield path.relative_to(ROOT)


def mirrored(module: Path) -> Path:
    """Where a module's tests are unless it says otherwise: engines/pace.py has tests/engines/test_pace.py."""
    return Path("tests") / module.parent / f"test_{module.stem}.py"


def elsewhere(source: str) -> tuple[list[Path], Path | None]:
    """The test files, and the module on the way, that the comment right under a module's docstring names."""
    docstring_end = ast.parse(source).body[0].end_lineno
    for line in source.splitlines()[docstring_end:]:
        if found := ELSEWHERE.fullmatch(line):
            named = [Path(name) for name in re.split(r", | and ", found["tests"])]
            return named, Path(found["way"]) if found["way"] else None
        if line and not line.startswith("#"):
            break
    return [], None


def imported(source: str) -> set[str]:
    """All names that a file imports: ``import a.b`` and ``from a import b`` give ``a.b``."""
    names = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def uses(path: Path, module: Path, root: Path = ROOT) -> bool:
    """Whether a file imports a module, or names the command that it is: ``"download"``."""
    source, name = (root / path).read_text(), dotted(module)
    room, _, own = name.rpartition(".")
    if name in imported(source):
        return True
    words = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return room == "commands" and own in words


def is_used_in(path: Path, module: Path, root: Path = ROOT) -> bool:
    """Whether a test file uses a module, or a helper of the tests does that it imports."""
    names = imported((root / path).read_text())
    helpers = [
        helper.relative_to(root) for helper in (root / "tests").rglob("*.py") if helper.name[:5] != "test_"
    ]
    return uses(path, module, root) or any(
        uses(helper, module, root) for helper in helpers if dotted(helper) in names
    )


def dotted(module: Path) -> str:
    """A module's name in imports."""
    return ".".join(module.with_suffix("").parts)


def fault(module: Path, root: Path = ROOT) -> str | None:
    """What is wrong with where a module is tested, in a sentence; None if nothing is."""
    (named, way), home = elsewhere((root / module).read_text()), mirrored(module)
    if (root / home).is_file():
        return f"{module} has {home}, which needs no comment: remove it." if named else None
    if not named:
        return f"{module} has no {home}: write it, or say '# Tested in tests/….py.' under the docstring."
    if way is not None and not ((root / way).is_file() and uses(way, module, root)):
        return f"{module} says that it is tested by way of {way}, but that does not import it."
    for path in named:
        if not (root / path).is_file():
            return f"{module} says that it is tested in {path}, but there is no such file."
        if not is_used_in(path, way or module, root):
            return f"{module} says that it is tested in {path}, but that does not import {way or 'it'}."
    return None


def test_each_module_is_tested_where_the_tree_says() -> None:
    faults = [sentence for module in modules() if (sentence := fault(module))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("module", "test", "expected"),
    [
        ("", {"tests/room/test_one.py": ""}, None),
        ("", {}, "has no tests/room/test_one.py"),
        ("# Tested in tests/other.py.", {}, "there is no such file"),
        ("# Tested in tests/other.py.", {"tests/other.py": "from room.two import x"}, "does not import it"),
        ("# Tested in tests/other.py.", {"tests/other.py": "from room.one import x"}, None),
        ("# Tested in tests/other.py.", {"tests/other.py": "from room import one"}, None),
        ("# Tested in tests/other.py.", {"tests/other.py": "import room.one"}, None),
        ("# Tested in tests/other.py.", {"tests/room/test_one.py": ""}, "needs no comment"),
        ("import x\n# Tested in tests/other.py.", {"tests/other.py": "import room.one"}, "has no tests"),
        (
            "# Tested in tests/other.py.",
            {"tests/other.py": "from tests.help import x", "tests/help.py": "import room.one"},
            None,
        ),
        (
            "# Tested in tests/other.py by way of room/two.py.",
            {"tests/other.py": "import room.two", "room/two.py": "from room.one import x"},
            None,
        ),
        (
            "# Tested in tests/other.py by way of room/two.py.",
            {"tests/other.py": "import room.two", "room/two.py": ""},
            "room/two.py, but that does not import it",
        ),
        (
            "# Tested in tests/other.py by way of room/two.py.",
            {"tests/other.py": "", "room/two.py": "import room.one"},
            "does not import room/two.py",
        ),
    ],
)
def test_what_is_a_fault(tmp_path: Path, module: str, test: dict[str, str], expected: str | None) -> None:
    for path, text in {"room/one.py": f'"""One."""\n\n{module}\n', **test}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = fault(Path("room/one.py"), tmp_path)
    assert found is None if expected is None else expected in (found or "")
