"""What the telephony tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.twilio_api import FakeTwilioApi, fake_twilio_api
from tests.logs import Logged, logged_lines


@pytest.fixture
def twilio() -> Iterator[FakeTwilioApi]:
    """A fake of Twilio's REST API, running."""
    with fake_twilio_api() as api:
        yield api


@pytest.fixture
def logged() -> Iterator[Logged]:
    """What is logged during the test."""
    with logged_lines() as logs:
        yield logs
