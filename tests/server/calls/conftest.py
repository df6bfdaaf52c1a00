from __future__ import annotations

import pytest

from processors import playback_end


@pytest.fixture
def short_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the wait of 2.5 s for the end of the bot's words: these phones return no marks."""
    monkeypatch.setattr(playback_end, "STILL_SECS", 0.2)
    monkeypatch.setattr(playback_end, "ECHO_SECS", 0.1)
