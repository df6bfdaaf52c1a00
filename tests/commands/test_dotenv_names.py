"""commands/dotenv_names.py: lines in .env without an effect are reported with their number."""

from __future__ import annotations

from pathlib import Path

import pytest

from moshi_phone.commands.dotenv_names import cut_texts, read_bindings, unknown_names

KNOWN = {"MOSHI_PERSONA", "MOSHI_PORT", "MOSHI_ALLOW"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "MOSHI_PERSONNA=x",
            "line 2 of {}: no option has the variable MOSHI_PERSONNA; did you mean MOSHI_PERSONA?",
        ),
        ("MOSHI_SURPRISE=x", "line 2 of {}: no option has the variable MOSHI_SURPRISE."),
        ("MOSHI_PORT=5001", None),
        ("#MOSHI_PERSONNA=x", None),
        ("HF_HOME=/data", None),
    ],
)
def test_a_variable_without_an_option(tmp_path: Path, line: str, told: str | None) -> None:
    path = tmp_path / ".env"
    path.write_text(f"# ours\n{line}\n")
    expected = [told.format(path)] if told else []
    assert unknown_names(path, read_bindings(path), {"MOSHI_PORT"}, lambda: KNOWN) == expected


@pytest.mark.parametrize(
    ("line", "is_cut"),
    [
        ("MOSHI_PERSONA=You are Anna, # 1 in town", True),
        ('MOSHI_PERSONA="You are Anna, # 1 in town"', False),
        ("MOSHI_PERSONA=You are Anna, number#1 in town", False),
        ("MOSHI_PORT=5001 # the port", False),
        ("MOSHI_ALLOW=+1555* +1666* # friends", False),
        ("OTHER=You are Anna # 1", False),
    ],
)
def test_a_text_that_ends_at_a_comment(tmp_path: Path, line: str, is_cut: bool) -> None:
    path = tmp_path / ".env"
    path.write_text(f"{line}\n")
    told = cut_texts(path, read_bindings(path))
    assert len(told) == is_cut
    assert not told or told[0].startswith(f"line 1 of {path}: MOSHI_PERSONA ends before the #")
