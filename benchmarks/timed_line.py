"""``bot.py`` with parts of it timed, or without one of them: a server for ``benchmarks.measures``.

Its first two arguments are the part to leave out (``none``, ``echo`` or ``conversation``) and a file; the
others are those of ``bot.py``. At the end of each call, the file receives the processor time of each part so
far, in seconds, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameProcessor

from benchmarks.cpu_time import timed
from bot import run_call
from moshi_phone.commands.main import main
from moshi_phone.conversation import live
from moshi_phone.conversation.live import LiveConversation
from pipelines import phone_call
from processors.echo import EchoCanceller, EchoPath

ECHO, CONVERSATION = "echo", "conversation"

_TIMED: dict[str, list[tuple[Any, str]]] = {
    ECHO: [(EchoPath, "take"), (EchoCanceller, "clean")],
    CONVERSATION: [(live, "_judge"), (LiveConversation, "take"), (LiveConversation, "judged")],
}


def _leave_out(part: str) -> None:
    if part == CONVERSATION:
        setattr(LiveConversation, "take", lambda *_: None)  # noqa: B010 - mypy refuses an assignment
    elif part == ECHO:
        setattr(EchoPath, "take", lambda *_: None)  # noqa: B010 - as above

        def without_canceller(stages: list[FrameProcessor]) -> Pipeline:
            return Pipeline([stage for stage in stages if not isinstance(stage, EchoCanceller)])

        setattr(phone_call, "Pipeline", without_canceller)  # noqa: B010 - as above


def _write_at_each_end(spent_s: dict[str, float], path: Path) -> None:
    close = EchoPath.close

    def close_and_write(echo: EchoPath) -> None:
        close(echo)
        path.write_text(json.dumps(spent_s), encoding="utf-8")

    setattr(EchoPath, "close", close_and_write)  # noqa: B010 - as above


if __name__ == "__main__":
    left_out, file = sys.argv[1:3]
    del sys.argv[1:3]
    spent_s = dict.fromkeys(_TIMED, 0.0)
    for part, functions in _TIMED.items():
        for owner, name in functions:
            timed(owner, name, spent_s, part)
    _leave_out(left_out)
    _write_at_each_end(spent_s, Path(file))
    main(lambda: run_call)
