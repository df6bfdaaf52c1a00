"""commands/logs.py: one format for all log lines, and nothing in them that must not be logged."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from loguru import logger

from moshi_phone.commands.logs import LogFormat, log_to_stderr
from tests.support.logs import log_put_back
from tests.support.program import program

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR) +\S.*")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    with log_put_back():
        yield


def fail(number: str) -> None:
    secret = "s3cret"
    raise ValueError(f"no call to {number} with {secret}\nand \x1b[31mmore")


def told(capsys: pytest.CaptureFixture[str], form: LogFormat) -> str:
    log_to_stderr("info", ["s3cret"], form)
    logger.debug("not seen")
    logger.bind(call="CA1", peer="+15551234567").info("ours {}", "+15551234567")
    logging.getLogger("uvicorn.error").warning("theirs %s", "sip:15551234567@x")
    logging.getLogger("third.party").info("not seen either")
    try:
        fail("+15551234567")
    except ValueError:
        logger.exception("it broke")
    return capsys.readouterr().err


def test_the_text_format(capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, "text").splitlines()
    assert LINE.fullmatch(lines[0])
    assert lines[0].endswith("INFO    CA1 ours +…567")
    assert lines[1].endswith("WARNING theirs sip:…567@x")
    assert lines[2].endswith("ERROR   it broke")
    assert lines[3] == "Traceback (most recent call last):"
    assert lines[-2:] == ["ValueError: no call to +…567 with ***", "and \\x1b[31mmore"]
    assert not any("\x1b" in line for line in lines), "colours are for terminals"


def test_a_stranger_s_malformed_requests_are_one_line_with_their_count(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_to_stderr("info")
    for _ in range(50):
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert capsys.readouterr().err.count("Invalid HTTP request") == 1


def test_the_json_format(capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs, broke = (json.loads(line) for line in told(capsys, "json").splitlines())
    assert datetime.fromisoformat(ours.pop("time")).tzinfo is not None
    assert ours == {
        "level": "INFO",
        "logger": __name__,
        "message": "ours +…567",
        "call": "CA1",
        "peer": "+…567",
    }
    assert (theirs["level"], theirs["logger"]) == ("WARNING", "uvicorn.error")
    assert theirs["message"] == "theirs sip:…567@x"
    assert broke["exception"].endswith("ValueError: no call to +…567 with ***\nand \\x1b[31mmore")


async def test_the_program_s_log_has_one_format_and_no_banner() -> None:
    arguments = ("--engine", "parrot", "--port", "0", "--log-format", "json", "--log-level", "debug")
    async with program(*arguments, environment={}) as running:
        await running.says("Answering calls at")
    lines = [json.loads(line) for line in running.said.splitlines()]
    assert {"time", "level", "logger", "message"} <= set(lines[-1])


@pytest.mark.slow
def test_help_has_no_banner_either() -> None:
    command = [sys.executable, "bot.py", "--help"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    assert told.stderr == ""
