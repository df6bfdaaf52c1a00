"""An engine with known turn-taking, as the reference of measurements and rehearsals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import soundfile
from numpy.typing import NDArray

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from moshi_phone.audio.resampling import StreamResampler
from moshi_phone.engines import duplex
from moshi_phone.engines.step_queue import StepQueue
from moshi_phone.rehearse.clips import CLIPS

_LOUD = 0.008  # of a slice's RMS
_SLICE = SAMPLE_RATE_HZ // 200  # 5 ms
_SLICE_S = _SLICE / SAMPLE_RATE_HZ
_MAX_PAUSE_S = 1.6
_REST_S = 0.1  # a clip with at least this much left is not over


@dataclass(frozen=True)
class Behaviour:
    """The engine's turn-taking.

    Attributes:
        answer_ms: the time from the caller's end to its answer.
        stop_ms: the length of an interruption after which it stops; None: it keeps talking.
        takes_pauses: whether it treats every silence as the end of a turn.
        stops_for_backchannels: whether it stops for whatever it hears.
        greets: whether it speaks first.
        answers: whether it answers at all.
        answers_asides: whether it answers soft speech to another person.
    """

    answer_ms: float = 240.0
    stop_ms: float | None = 320.0
    takes_pauses: bool = False
    stops_for_backchannels: bool = False
    greets: bool = True
    answers: bool = True
    answers_asides: bool = False


@cache
def _voice(name: str) -> Pcm:
    samples, rate_hz = soundfile.read(CLIPS / "rms" / f"{name}.flac", dtype="float32")
    return StreamResampler(rate_hz, SAMPLE_RATE_HZ).process(samples)


class ScriptedSession(duplex.DuplexSession):
    """One call. It knows the caller's clips, so it can tell a pause from an end, as a good model would."""

    dropped_frames = 0

    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine
        self._steps = StepQueue(200)
        self._closed = False
        self._heard = 0  # samples
        self._turn_begin_s: float | None = None
        self._last_loud_s = -10.0
        self._loudest = 0.0
        self._turn: list[float] = []  # the level of each slice
        self._asked_at_s, self._is_going_on = -1.0, False
        self._speaking = _voice("question-1") if engine.behaviour.greets else np.zeros(0, np.float32)
        self._said = 0  # of its current speech
        self._starts_at_s: float | None = None
        self._stops_at_s: float | None = None
        self._overlapped = False

    def feed(self, pcm: Pcm) -> None:
        for begin in range(0, FRAME_SAMPLES, _SLICE):
            self._hear(pcm[begin : begin + _SLICE])
        self._steps.push(duplex.DuplexStep(self._next()))

    def _hear(self, heard: Pcm) -> None:
        level, peak = float(np.sqrt(np.mean(np.square(heard)))), float(np.abs(heard).max())
        how = self._engine.behaviour
        self._heard += _SLICE
        self._turn.append(level)
        now_s = self._heard / SAMPLE_RATE_HZ
        if level > _LOUD:
            if self._turn_begin_s is None or now_s - self._last_loud_s > _MAX_PAUSE_S + 0.2:
                self._turn_begin_s, self._loudest, self._turn = now_s - _SLICE_S, 0.0, []
                self._overlapped = self._is_speaking
            if self._turn_begin_s is not None and self._is_speaking and self._stops_at_s is None:
                self._consider_stopping(now_s)
            self._loudest = max(self._loudest, peak)
            self._last_loud_s = now_s
            self._starts_at_s = None  # the caller speaks on
            return
        silent_s = now_s - self._last_loud_s
        if self._turn_begin_s is None or silent_s < how.answer_ms / 1000 - 0.1 or silent_s < 0.1:
            return
        spoken_s = self._last_loud_s - self._turn_begin_s
        is_backchannel = self._overlapped and spoken_s < 0.6
        is_aside = self._loudest < 0.25 and not how.answers_asides
        is_pause = not how.takes_pauses and silent_s < _MAX_PAUSE_S and self._goes_on(spoken_s)
        if is_pause or is_backchannel:
            if is_backchannel and silent_s > 0.5:
                self._turn_begin_s = None
            return
        if not how.answers or is_aside or (self._is_speaking and self._stops_at_s is None):
            if silent_s > 0.5:  # it may become louder
                self._turn_begin_s = None
            return
        self._starts_at_s = self._last_loud_s + how.answer_ms / 1000  # unless the caller speaks on

    def _goes_on(self, spoken_s: float) -> bool:
        """Return whether the caller's clip with these levels continues."""
        if self._asked_at_s == self._last_loud_s:
            return self._is_going_on
        self._asked_at_s = self._last_loud_s
        said = np.array(self._turn[: round(spoken_s / _SLICE_S)])

        def likeness(clip: NDArray[np.float64]) -> float:
            part = clip[: len(said)]
            heard = said[: len(part)]
            return float(heard @ part / (np.linalg.norm(said) * np.linalg.norm(part)))

        clip = max(_levels(), key=likeness)
        self._is_going_on = len(clip) - len(said) > _REST_S / _SLICE_S
        return self._is_going_on

    def _consider_stopping(self, now_s: float) -> None:
        how = self._engine.behaviour
        assert self._turn_begin_s is not None
        if how.stops_for_backchannels:
            self._stops_at_s = self._turn_begin_s + 0.32
        elif how.stop_ms is not None and now_s - self._turn_begin_s >= min(how.stop_ms / 1000, 0.3):
            self._stops_at_s = self._turn_begin_s + how.stop_ms / 1000

    @property
    def _is_speaking(self) -> bool:
        return self._said < len(self._speaking)

    def _next(self) -> Pcm:
        """Return the next frame to play."""
        begin_s = self._heard / SAMPLE_RATE_HZ
        out = np.zeros(FRAME_SAMPLES, np.float32)
        if self._stops_at_s is not None:
            left = max(0, round((self._stops_at_s - begin_s) * SAMPLE_RATE_HZ))
            if left < FRAME_SAMPLES:
                out[:left] = self._speech(left)
                self._speaking, self._said, self._stops_at_s = np.zeros(0, np.float32), 0, None
                return out
        if self._starts_at_s is not None and self._starts_at_s < begin_s + FRAME_SAMPLES / SAMPLE_RATE_HZ:
            late = max(0, round((self._starts_at_s - begin_s) * SAMPLE_RATE_HZ))
            self._speaking, self._said, self._starts_at_s = _voice("story"), 0, None
            self._turn_begin_s = None
            out[late:] = self._speech(FRAME_SAMPLES - late)
            return out
        out[:] = self._speech(FRAME_SAMPLES)
        return out

    def _speech(self, samples: int) -> Pcm:
        said = self._speaking[self._said : self._said + samples]
        self._said += samples
        return np.concatenate((said, np.zeros(samples - len(said), np.float32)))

    def outputs(self) -> AsyncIterator[duplex.DuplexStep]:
        return self._steps.read()

    @property
    def backlog_frames(self) -> int:
        return len(self._steps)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._engine.running -= 1
            self._steps.close()


class ScriptedEngine(duplex.DuplexEngine):
    name, capacity, running, error = "scripted", 8, 0, None

    def __init__(self, _: object = None, *, behaviour: Behaviour = Behaviour()) -> None:
        self.behaviour = behaviour

    async def start(self, progress: duplex.Progress) -> None:
        for name in ("question-1", "story"):
            _voice(name)
        _levels()

    def open_session(self, request: duplex.CallOverrides = duplex.NO_OVERRIDES) -> ScriptedSession:
        self.check_request(request)
        self.running += 1
        return ScriptedSession(self)

    async def stop(self) -> None:
        pass


@cache
def _levels() -> list[NDArray[np.float64]]:
    """Return the level of each slice of the caller's clips, from the first loud one to the last."""
    found = []
    for path in sorted(CLIPS.glob("*/*.flac")):
        samples, rate_hz = soundfile.read(path)
        size = round(rate_hz * _SLICE_S)
        slices = samples[: len(samples) // size * size].reshape(-1, size)
        levels = np.sqrt(np.mean(np.square(slices), axis=1))
        loud = np.flatnonzero(levels > _LOUD)
        found.append(levels[loud[0] : loud[-1] + 1])
    return found
