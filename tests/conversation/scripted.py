"""A conversation made of clips, with a bot of known behaviour, for measurements to be compared with."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import soundfile
from numpy.typing import NDArray

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.rehearse.clips import CLIPS

Samples = NDArray[np.float32]
BOT_VOICE = "rms"


@dataclass(frozen=True)
class Behaviour:
    """How the bot talks.

    Attributes:
        answer_ms: how long after the caller's end it answers; negative: before.
        stop_ms: the time from an interruption's start to its stop; None: it keeps talking.
        takes_pauses: whether it takes a pause for the end of a turn.
        stops_for_backchannels: whether "mm-hm" makes it stop.
    """

    answer_ms: float = 240.0
    stop_ms: float | None = 320.0
    takes_pauses: bool = False
    stops_for_backchannels: bool = False


@dataclass
class Truth:
    """The expected measurements."""

    gaps_ms: list[float] = field(default_factory=list[float])
    stops_ms: list[float] = field(default_factory=list[float])
    takeovers: int = 0
    backchannel_stops: int = 0
    longest_silence_s: float = 0.0


class Scene:
    """Places clips of both voices on one time line."""

    def __init__(self, secs: float) -> None:
        self.both = np.zeros((round(secs * PHONE_RATE_HZ), 2), np.float32)

    def say(self, side: int, clip: Samples, at_s: float) -> float:
        """Place a clip there (0: the caller, 1: the bot); return its end in seconds."""
        begin = round(at_s * PHONE_RATE_HZ)
        self.both[begin : begin + len(clip), side] = clip
        return (begin + len(clip)) / PHONE_RATE_HZ

    def on_the_line(self, noise_db: float | None = None, seed: int = 1) -> NDArray[np.int16]:
        """Return both voices as a phone carries them: int16 ``[n, 2]``, the caller in noise, µ-law."""
        both = self.both.copy()
        if noise_db is not None:
            speech = both[:, 0][both[:, 0] != 0]
            level = float(np.sqrt(np.mean(np.square(speech)))) / 10 ** (noise_db / 20)
            both[:, 0] += np.random.default_rng(seed).normal(0, level, len(both))
        sides = (g711.decode(g711.encode(pcm.to_bytes(both[:, side]))) for side in (0, 1))
        return np.stack([np.frombuffer(side, "<i2") for side in sides], axis=1)


def clip(voice: str, name: str) -> Samples:
    samples, _ = soundfile.read(CLIPS / voice / f"{name}.flac", dtype="float32")
    return np.asarray(samples, np.float32)


def talk(caller: str, bot: Behaviour, silence_s: float = 20.0) -> tuple[Scene, Truth]:
    """Play every scene of a rehearsal with this bot: greeting, question, pause, interruption, …"""
    scene, truth, now_s = Scene(140.0), Truth(), 0.0
    long = clip(BOT_VOICE, "story")
    cut = clip(BOT_VOICE, "open-3")

    def bot_says(samples: Samples, at_s: float, until_s: float | None = None) -> float:
        if until_s is not None:
            samples = samples[: round((until_s - at_s) * PHONE_RATE_HZ)]
        return scene.say(1, samples, at_s)

    def asks(name: str, at_s: float) -> float:
        end_s = scene.say(0, clip(caller, name), at_s)
        truth.gaps_ms.append(bot.answer_ms)
        return end_s + bot.answer_ms / 1000

    now_s = bot_says(clip(BOT_VOICE, "question-1"), 0.7)
    now_s = bot_says(cut, asks("question-1", now_s + 0.9))  # question
    at_s = now_s + 1.0  # pause
    pause = clip(caller, "pause-1")
    silent = np.flatnonzero(np.convolve(pause == 0, np.ones(8_000), "valid") > 7_999)
    pause_s, resumed_s = at_s + silent[0] / PHONE_RATE_HZ, at_s + (silent[-1] + 8_000) / PHONE_RATE_HZ
    if bot.takes_pauses:
        bot_says(long, pause_s + abs(bot.answer_ms) / 1000, resumed_s + (bot.stop_ms or 900.0) / 1000)
        truth.takeovers = 1
    now_s = bot_says(cut, asks("pause-1", at_s))
    now_s = bot_says(cut, asks("story", now_s + 1.0))  # story
    for number in (1, 2):  # interruptions
        begins_s = asks("open-1", now_s + 1.0)
        interrupts_s = begins_s + 2.5
        if bot.stop_ms is None:
            now_s = bot_says(long, begins_s)
            scene.say(0, clip(caller, f"interruption-{number}"), interrupts_s)
            truth.stops_ms.append((now_s - interrupts_s) * 1000)
        else:
            bot_says(long, begins_s, interrupts_s + bot.stop_ms / 1000)
            truth.stops_ms.append(bot.stop_ms)
            now_s = bot_says(cut, asks(f"interruption-{number}", interrupts_s))
    for number in (1, 2):  # backchannels
        begins_s = asks("open-2", now_s + 1.0)
        said_s = begins_s + 2.0
        scene.say(0, clip(caller, f"backchannel-{number}"), said_s)
        stops = bot.stops_for_backchannels
        said = clip(caller, f"backchannel-{number}")
        now_s = bot_says(long, begins_s, said_s + 0.32 if stops else None)
        now_s = max(now_s, said_s + len(said) / PHONE_RATE_HZ)
        truth.backchannel_stops += stops
    now_s = bot_says(cut, asks("question-2", now_s + silence_s))
    truth.longest_silence_s = silence_s
    scene.both = scene.both[: round((now_s + 2) * PHONE_RATE_HZ)]
    return scene, truth
