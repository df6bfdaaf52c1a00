"""What the telephony tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from loguru import logger

from tests.fakes.twilio_api import FakeTwilioApi, fake_twilio_api
from tests.logs import Logged


@pytest.fixture
def twilio() -> Iterator[FakeTwilioApi]:
    """A fake of Twilio's REST API, running."""
    with fake_twilio_api() as api:
        yield api


@pytest.fixture
def logged() -> Iterator[Logged]:
    """What is logged during the test."""
    logs = Logged()
    sink = logger.add(lambda line: logs.lines.append(str(line)), level="DEBUG", format="{level} {message}")
    yield logs
    logger.remove(sink)
