from __future__ import annotations

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import InputDTMFFrame, TextFrame

from processors.dtmf_actions import DtmfActions


def test_each_key_runs_its_action() -> None:
    done: list[str] = []
    keys: list[int] = []

    def pressed() -> None:
        keys.append(len(done))

    watch = DtmfActions({"#": done.append, "0": lambda why: done.append(why.upper())}, pressed)
    for digit in ("1", "#", "0"):
        watch.observe(InputDTMFFrame(KeypadEntry(digit)))
    watch.observe(TextFrame("#"))
    watch.close()
    assert done == ["the caller pressed #", "THE CALLER PRESSED 0"]
    assert keys == [0, 0, 1]
