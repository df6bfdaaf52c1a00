from __future__ import annotations

from pathlib import Path

import pytest

from moshi_phone.runtime.plugin import PluginUnfit, load


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    return tmp_path


def test_from_the_working_folder(here: Path) -> None:
    (here / "own_part_a.py").write_text("ANSWER = 42\n")
    assert load("own_part_a:ANSWER", "--part") == 42


def test_from_an_installed_package() -> None:
    assert load("pathlib:Path", "--part") is Path


@pytest.mark.parametrize(
    ("spec", "text", "sentence"),
    [
        ("own_part_b", "", "--part: expected MODULE:NAME, such as my_parts:MyPart, got 'own_part_b'."),
        ("own_part_none:X", None, "there is no module own_part_none in this folder or among the installed"),
        ("own_part_c:Mine", "", "the module own_part_c has no Mine."),
        ("own_part_f:Min", "MINE = Mine = 1", "the module own_part_f has no Min; did you mean Mine?"),
        (
            "own_part_d:Mine",
            "\n1 / 0",
            "cannot be imported (ZeroDivisionError: division by zero; own_part_d.py, line 2).",
        ),
        (
            "own_part_g:Mine",
            "def f(:",
            "(SyntaxError: invalid syntax (own_part_g.py, line 1)).",
        ),
        (
            "own_part_h.py:Mine",
            "",
            "not a file's: own_part_h:Mine, got 'own_part_h.py:Mine'.",
        ),
        ("./parts/mine.py:Mine", None, "not a file's: parts.mine:Mine, got './parts/mine.py:Mine'."),
        ("own_part_e:Mine", "import nowhere_at_all", "needs the package nowhere_at_all, which is missing."),
    ],
)
def test_errors_are_one_sentence(here: Path, spec: str, text: str | None, sentence: str) -> None:
    if text is not None:
        (here / f"{spec.partition(':')[0]}.py").write_text(text)
    with pytest.raises(PluginUnfit) as unfit:
        load(spec, "--part")
    assert sentence in str(unfit.value)
