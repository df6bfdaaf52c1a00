"""What all tests share."""

from __future__ import annotations

import sys

import pytest
from loguru import logger


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    """Keep pipecat's debug log out of reports, and its cost out of the tests."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
