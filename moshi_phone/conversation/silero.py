"""Speech probability by Silero's network, which pipecat ships.

The network is batched over voices: a window takes 0.11 ms alone and 0.03 ms in a batch of sixteen (measured).
Each voice is therefore a generator of windows, and one loop runs the network for all of them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ

WINDOW_SAMPLES = 256  # 32 ms at 8 kHz: the only size that the network accepts
CONTEXT_SAMPLES = 32
"""The end of the previous window: the network takes it together with each window."""
_STATE = (2, 128)


class NetworkState:
    """The network's recurrent state for one voice: 1 kB."""

    def __init__(self) -> None:
        self.memory = np.zeros(_STATE, np.float32)

    def reset(self, silent_windows: int = 0) -> None:
        """Reset to the state before any audio, or after some windows of digital silence."""
        self.memory = _after_silence(silent_windows)


Window = tuple[NetworkState, NDArray[np.float32]]
"""A voice's state and its next window, after its context: float32 ``[32 + 256]``, 8 kHz mono, -1 to 1."""

Judging = Generator[Window, float, None]
"""Yields windows, and receives the speech probability of each, 0 to 1."""


def load() -> None:
    """Load the network before the first call, since it takes a second."""
    _loaded()


def judge_together(voices: Sequence[Judging]) -> list[Exception | None]:
    """Run all generators to their ends, with one batch of the network for each step.

    Returns:
        For each voice the exception that it raised, or None.
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
        except Exception as error:  # affects one voice only
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
    """Run the network on one window of each voice."""
    count = len(windows)
    sound = np.empty((count, CONTEXT_SAMPLES + WINDOW_SAMPLES), np.float32)
    memory = np.empty((_STATE[0], count, _STATE[1]), np.float32)
    for row, (state, window) in enumerate(windows):
        sound[row] = window
        memory[:, row] = state.memory
    found, memory = _loaded().run(None, {"input": sound, "state": memory, "sr": _RATE})
    for row, (state, _) in enumerate(windows):
        state.memory = memory[:, row]
    answers: list[float] = found[:, 0].tolist()
    return answers


@cache
def _after_silence(windows: int) -> NDArray[np.float32]:
    """Return the state after some windows of digital silence. It is shared: for reading only."""
    state = NetworkState()
    for _ in range(windows):
        _probabilities([(state, np.zeros(CONTEXT_SAMPLES + WINDOW_SAMPLES, np.float32))])
    return state.memory


_RATE = np.array(PHONE_RATE_HZ, np.int64)


@cache
def _loaded() -> Any:
    # Imported here: onnxruntime takes a second to load, and most commands do not need it.
    from pipecat.audio.vad.silero import SileroOnnxModel  # noqa: PLC0415

    path = files("pipecat.audio.vad") / "data" / "silero_vad.onnx"
    # pipecat's session options: one thread, no spinning. Its own wrapper takes one voice only.
    return SileroOnnxModel(str(path), force_onnx_cpu=True).session  # type: ignore[no-untyped-call]
