from __future__ import annotations

from moshi_phone.commands.checks.check import Check


def test_a_line_shows_the_finding_and_the_remedy() -> None:
    assert str(Check("port", "ok", "5001 is free")) == "ok    port         5001 is free"
    failed = Check("weights", "fail", "not here", "uv run bot.py download")
    assert str(failed) == "FAIL  weights      not here -> uv run bot.py download"
