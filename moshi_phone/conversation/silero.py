"""How likely a piece of sound holds speech: Silero's network, as pipecat ships it.

The network takes several voices at once: a window of one takes 0.11 ms, and of each of sixteen 0.03 ms
(measured). So whoever judges says which window of which voice comes next, and one loop asks for all.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ

WINDOW_SAMPLES = 256  # 32 ms at 8 kHz: the only size that the network takes
_CONTEXT_SAMPLES = 32  # of the window before, in front of each
_STATE = (2, 128)


class NetworkState:
    """What the network remembers of one voice: 1 kB."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self.memory = np.zeros(_STATE, np.float32)
        self.context = np.zeros(_CONTEXT_SAMPLES, np.float32)


Window = tuple[NetworkState, NDArray[np.float32]]
"""A voice, and its next window: float32 ``[256]``, 8 kHz mono, -1 to 1."""

Judging = Generator[Window, float, None]
"""Asks for the probability of speech, 0 to 1, window by window."""


def load() -> None:
    """Load the network, which takes a second, before a call needs it."""
    _loaded()


def judge_together(voices: Sequence[Judging]) -> list[Exception | None]:
    """Let all go on to their ends, and ask the network for all of them at once.

    Returns:
        What each raised; None where it came to its end.
    """
    errors: list[Exception | None] = [None] * len(voices)
    asking: list[tuple[int, Window]] = []

    def go_on(index: int, probability: float | None) -> None:
        try:
            voice = voices[index]
            asked = next(voice) if probability is None else voice.send(probability)
            going_on.append((index, asked))
        except StopIteration:
            pass
        except Exception as error:  # of one voice: the others go on
            errors[index] = error

    going_on: list[tuple[int, Window]] = []
    for index in range(len(voices)):
        go_on(index, None)
    while going_on:
        asking, going_on = going_on, []
        answers = _probabilities([window for _, window in asking])
        for (index, _), probability in zip(asking, answers, strict=True):
            go_on(index, probability)
    return errors


def _probabilities(windows: Sequence[Window]) -> list[float]:
    """Ask the network about one window of each voice."""
    count = len(windows)
    sound = np.empty((count, _CONTEXT_SAMPLES + WINDOW_SAMPLES), np.float32)
    memory = np.empty((_STATE[0], count, _STATE[1]), np.float32)
    for row, (state, window) in enumerate(windows):
        sound[row, :_CONTEXT_SAMPLES] = state.context
        sound[row, _CONTEXT_SAMPLES:] = window
        memory[:, row] = state.memory
    found, memory = _loaded().run(None, {"input": sound, "state": memory, "sr": _RATE})
    for row, (state, window) in enumerate(windows):
        state.context = window[-_CONTEXT_SAMPLES:]
        state.memory = memory[:, row]
    answers: list[float] = found[:, 0].tolist()
    return answers


_RATE = np.array(PHONE_RATE_HZ, np.int64)


@cache
def _loaded() -> Any:
    # Loads onnxruntime, which takes a second: nobody else needs to wait for it.
    from pipecat.audio.vad.silero import SileroOnnxModel  # noqa: PLC0415

    path = files("pipecat.audio.vad") / "data" / "silero_vad.onnx"
    # One thread, and none that spins: pipecat's options. Its own call takes one voice.
    return SileroOnnxModel(str(path), force_onnx_cpu=True).session  # type: ignore[no-untyped-call]
