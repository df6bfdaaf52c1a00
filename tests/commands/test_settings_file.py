from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from moshi_phone.commands.main import cli


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prot = 5001", "there is no option prot; did you mean port?"),
        ("colour = 1", "there is no option colour."),
        ("port = ", "is not TOML: Invalid value (at end of document)."),
        ("[port]\nnumber = 1", "expected a value for port, got a table; write port = …, outside [tables]."),
        ("[phone]\nnumber = 1", "[phone] is a section, and this file has none: write the options without a"),
        ('port = "high"', "settings.toml: port: expected a whole number from 0 to 65535, got 'high'."),
        ("port = 65536", "settings.toml: port: expected a whole number from 0 to 65535, got 65536."),
        ("record = 5", 'settings.toml: record: expected text in quotes, "…", got 5.'),
        ("number = +15551234567", 'settings.toml: number: expected text in quotes, "…", got 15551234567.'),
        ('persona = ["a", "b"]', "settings.toml: persona: expected one value, got the list ['a', 'b']."),
        ('tunnel = "yes please"', "settings.toml: tunnel: expected true or false, got 'yes please'."),
        ("allow = 555", "settings.toml: allow: "),
        ('redact = "all"', "settings.toml: redact: 'all' is not one of 'none', 'digits'."),
        (b"\xff", "is not TOML: 'utf-8' codec"),
        (None, "cannot be read (No such file or directory)."),
    ],
)
def test_errors_in_a_file_are_one_sentence(tmp_path: Path, text: str | bytes | None, sentence: str) -> None:
    file = tmp_path / "settings.toml"
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    result = CliRunner().invoke(cli, ["serve", "--config", str(file)])
    assert result.exit_code == 2
    assert sentence in result.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("mode", "word"),
    [(0o600, ""), (0o640, "read"), (0o604, "read"), (0o620, "write to"), (0o666, "write to")],
)
def test_a_file_that_others_can_read_or_write_gives_a_warning(tmp_path: Path, mode: int, word: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("port = 65536")  # wrong, so that nothing starts
    file.chmod(mode)
    told = CliRunner().invoke(cli, ["serve", "--config", str(file)]).stderr.replace("\n", " ")
    assert (f"Warning: others on this machine can {word} {file}" in told) is bool(word)
    assert ("Warning" in told) is bool(word)


def test_values_have_the_types_of_their_options(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('allow = "+1555*"\nquantize = 8\ntunnel = false\nrecord = "here"\nport = "high"\n')
    # The last one is wrong, and only that one.
    result = CliRunner().invoke(cli, ["serve", "--config", str(file)])
    assert "settings.toml: port: expected a whole number" in result.output.replace("\n", " ")


def test_one_number_or_several(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    for text in ('number = "+15550000001"', 'number = ["+15550000001", "+15550000002"]'):
        file.write_text(f"{text}\n")
        result = CliRunner().invoke(cli, ["serve", "--config", str(file), "--port", "high"])
        assert "expected a whole number from 0 to 65535, got 'high'." in result.output, "and nothing else"


def test_names_of_other_commands_are_ignored(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("secs = 12\nring-secs = 'long'\n")  # rehearse's and dial's
    result = CliRunner().invoke(cli, ["serve", "--config", str(file), "--port", "high"])
    assert "expected a whole number from 0 to 65535, got 'high'." in result.output
    told = CliRunner().invoke(cli, ["dial", "--config", str(file), "+15551234567"])
    assert "ring-secs: expected a whole number" in told.output.replace("\n", " ")
