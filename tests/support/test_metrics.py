"""The figures of a small tree are those that one counts by hand."""

from __future__ import annotations

from pathlib import Path

from tests.support.metrics import measure, modules, table

SOURCE = '''"""One."""

# A comment.
X = 1  # another


class A:
    def f(self, a: int, *, b: int) -> int:
        return a + b
'''


def test_one_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.py").write_text(SOURCE)
    module = measure(tmp_path / "a" / "one.py", tmp_path)
    assert (module.package, module.lines, module.comments, module.functions) == ("a", 9, 2, [(2, 2)])


def test_what_counts(tmp_path: Path) -> None:
    for name in ("a/one.py", "tests/test_one.py", ".venv/x.py", "docs/pictures.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SOURCE)
    (tmp_path / "a" / "__init__.py").write_text('"""A package."""\n')
    found = modules(tmp_path)
    assert [module.package for module in found] == ["a"]
    assert "| `a` | 1 |" in table(found)
    assert "| 1 | 9 | 9 | 9 | 9 | 100% | 222 | 2 | 2 |" in table(found)
