"""The measurements of a small tree equal those counted by hand."""

from __future__ import annotations

from pathlib import Path

from tests.support.metrics import arrows, count_tests, floors, measure, modules, report

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
    assert (module.name, module.package, module.lines) == ("a.one", "a", 9)
    assert (module.comments, module.docstring_lines, module.functions) == (2, 1, [(2, 2)])


def test_lines_comments_and_docstrings_are_counted(tmp_path: Path) -> None:
    for name in ("a/one.py", "tests/test_one.py", ".venv/x.py", "docs/pictures.py", "vendor/theirs.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SOURCE.replace("def f", "def test_f") if "test" in name else SOURCE)
    (tmp_path / "a" / "__init__.py").write_text('"""A package."""\n')
    found = modules(tmp_path)
    assert [module.package for module in found] == ["a"]
    text = report(found)
    assert "\n| 1 | 9 | 9 | 9 | 9 | 100% | 222 | 2 | 2 |" in text
    assert "\n| `a` | 1 | 9 | 9 | 9 | 9 | 100% | 222 | 2 | 2 |" in text
    assert "\n| 1 | 2 | 2 | 0 | 2 | 2 | 2 | 11% |" in text
    assert "> 300 lines" not in text
    assert count_tests(tmp_path).endswith("| 1 | 9 | 1 | 1 |")


def test_arrows_and_floors(tmp_path: Path) -> None:
    for name, source in {
        "a/top": "import b.one\nfrom b.two import f\nimport json",
        "b/one": "from b import two",
        "b/two": "from c.low import x",
        "c/low": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(source)
    files, rooms = arrows(modules(tmp_path))
    assert files == {"a.top": {"b.one", "b.two"}, "b.one": {"b.two"}, "b.two": {"c.low"}, "c.low": set()}
    assert rooms == {"a": {"b"}, "b": {"c"}, "c": set()}
    assert (floors(files), floors(rooms)) == ("4", "3")
    assert floors({"a": {"b"}, "b": {"a"}}).startswith("circle: ")
