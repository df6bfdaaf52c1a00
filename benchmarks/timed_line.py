"""``bot.py`` with parts of it timed, or without one of them: a server for ``benchmarks.measures``.

Its first two arguments are the part to leave out (``none``, ``echo`` or ``conversation``) and a file; the
others are those of ``bot.py``. At the end of each call, the file receives the processor time of each part so
far, in seconds, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameProcessor

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


def timed(owner: Any, name: str, spent_s: dict[str, float], key: str) -> None:
    """Add the processor time of a function's calls to ``spent_s[key]``.

    Args:
        owner: the function's class or module.
        name: the function's.
        spent_s: in seconds, of the thread that calls.
        key: in ``spent_s``.
    """
    function: Callable[..., Any] = getattr(owner, name)

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        began_s = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent_s[key] += time.thread_time() - began_s

    setattr(owner, name, wrapper)


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
