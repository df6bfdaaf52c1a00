from __future__ import annotations

from moshi_phone.server.startup import EngineLog
from tests.support.logs import Logged


def test_each_change_is_one_line_and_loading_is_none(logged: Logged) -> None:
    log = EngineLog()
    for error in ("not loaded", "not loaded", None, None, "broken", "broken", "worse", None, None):
        log.note(error)
    assert [line.strip() for line in logged.lines] == [
        "WARNING The engine takes no calls: broken",
        "WARNING The engine takes no calls: worse",
        "INFO The engine takes calls again",
    ]
