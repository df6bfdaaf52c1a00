from __future__ import annotations

import ast
from pathlib import Path

import pytest

from moshi_phone.commands.errors import Unusable, explained
from moshi_phone.runtime.errors import UserError, describe_error, first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("narrow invalid args\nbacktrace:\n 0: rust"), "narrow invalid args"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_the_first_line_of_an_error(error: BaseException, line: str) -> None:
    assert first_line(error) == line


def test_an_error_of_a_user_s_code_has_its_line() -> None:
    with pytest.raises(ValueError, match="no such voice") as raised:
        raise ValueError("no such voice")
    assert describe_error(raised.value).startswith(f"ValueError: no such voice; {_here()}, line ")


def test_a_syntax_error_names_its_line() -> None:
    with pytest.raises(SyntaxError) as raised:
        ast.parse("1 +")
    assert describe_error(raised.value) == f"SyntaxError: {raised.value}"


def test_a_user_error_is_one_sentence_and_another_exception_a_traceback() -> None:
    class Wrong(UserError):
        pass

    with pytest.raises(Unusable, match=r"^Take another\.$"), explained():
        raise Wrong("Take another.")
    with pytest.raises(ZeroDivisionError), explained():
        raise ZeroDivisionError


def test_all_user_errors_have_one_base_class() -> None:
    """Two separate lists, for the command line and for a cluster's worker, had begun to differ."""
    lists = [
        path
        for path in Path("moshi_phone").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple) and _is_of_errors(node.value)
    ]
    assert lists == []


def _is_of_errors(values: ast.Tuple) -> bool:
    names = {element.id for element in values.elts if isinstance(element, ast.Name)}
    return len(names & {cls.__name__ for cls in _subclasses(UserError)}) > 1


def _subclasses(cls: type[UserError]) -> set[type[UserError]]:
    return {cls}.union(*(_subclasses(child) for child in cls.__subclasses__()))


def _here() -> Path:
    return Path(__file__).relative_to(Path.cwd())
