"""The criteria of a conversation's test report, each with its figure and its bound. Pure.

The figures come from the conversation's summary (``conversation.summary``); docs/conversation.md explains the
bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.conversation.echo import MAX_LOSS_DB

RESPONSE_MS = 400.0
"""For the median at the caller's ear: 300 ms of the model and 100 ms of the line."""
DETECTOR_MS = 500.0
"""A silence detector waits this long before a response."""
STOP_MS = 1000.0
SILENCE_S = 10.0
ANSWERED_SHARE = 0.75
CLIPPED_SHARE = 0.001
UNDERRUN_SHARE = 0.005
ECHO_DB = 30.0
"""An echo this far below the bot's voice is inaudible."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion of the test report.

    Attributes:
        key: its name in JSON.
        title: its name for people.
        passed: the verdict; None if it could not be judged.
        figure: the measured value as text, or why it could not be judged.
        bound: the required value, as text.
        remedy: what to do if it fails.
    """

    key: str
    title: str
    passed: bool | None
    figure: str
    bound: str
    remedy: str


@dataclass(frozen=True, slots=True)
class LineFacts:
    """Facts about the line beyond the audio; None if unknown.

    Attributes:
        delay_p95_ms: p95 of the delay, mouth to ear, without the network.
        underrun_share: share of the call with playout underruns.
        clipped_share: share of the bot's samples at full scale.
        stoi: the line's speech intelligibility, 0 to 1.
        echo_db: attenuation of the bot's voice where it reached the engine; ``MAX_LOSS_DB`` if no echo was
            found.
        errors: one sentence for each error.
    """

    delay_p95_ms: float | None = None
    underrun_share: float | None = None
    clipped_share: float | None = None
    stoi: float | None = None
    echo_db: float | None = None
    errors: tuple[str, ...] = field(default=())


NO_FACTS = LineFacts()


def judge(talked: Mapping[str, Any], line: LineFacts = NO_FACTS) -> list[Criterion]:
    """Judge a conversation.

    Args:
        talked: its summary.
        line: facts about the line.
    """
    return [
        _naturally(talked),
        _in_time(talked),
        _interactive(talked),
        _no_detector(talked),
        _interruptible(talked),
        _backchannels(talked),
        _no_silence(talked),
        _quality(line),
        _no_echo(line),
    ]


def _naturally(talked: Mapping[str, Any]) -> Criterion:
    pauses, taken = len(talked["pauses"]), talked["takeovers_in_pauses"]
    barged = talked["bot_interruptions"]
    if not talked["turns"]:
        return _not_judged("natural", "the caller said nothing")
    figure = f"{taken} of {pauses} pauses taken" if pauses else "the caller made no pauses"
    if barged:
        figure += f", {barged} times it spoke while the caller did"
    passed = None if not pauses and not barged else not (taken or barged)
    return _criterion("natural", passed, figure if passed is not None else f"not judged: {figure}")


def _in_time(talked: Mapping[str, Any]) -> Criterion:
    spread = Percentiles.of([response["gap_ms"] for response in talked["responses"]])
    if spread is None:
        return _not_judged("in_time", "nothing was answered")
    count = len(talked["responses"])
    figure = f"median {spread.p50:.0f} ms of {count}, slowest {spread.max:.0f} ms"
    return _criterion("in_time", spread.p50 <= RESPONSE_MS, figure)


def _interactive(talked: Mapping[str, Any]) -> Criterion:
    turns, answered = talked["turns"], len(talked["responses"])
    if not turns:
        return _not_judged("interactive", "the caller said nothing")
    figure = f"{answered} of {turns} turns answered"
    return _criterion("interactive", answered >= ANSWERED_SHARE * turns, figure)


def _no_detector(talked: Mapping[str, Any]) -> Criterion:
    gaps_ms = sorted(response["gap_ms"] for response in talked["responses"])
    if not gaps_ms:
        return _not_judged("no_detector", "nothing was answered")
    quickest = gaps_ms[(len(gaps_ms) - 1) // 4]
    return _criterion("no_detector", quickest <= DETECTOR_MS, f"a quarter within {quickest:.0f} ms")


def _interruptible(talked: Mapping[str, Any]) -> Criterion:
    interruptions = talked["interruptions"]
    if not interruptions:
        return _not_judged("interruptible", "the caller did not interrupt")
    yielded = [one for one in interruptions if one["yielded"]]
    figure = f"it stopped in {len(yielded)} of {len(interruptions)}"
    spread = Percentiles.of([one["stop_ms"] for one in yielded if one["stop_ms"] is not None])
    if spread is not None:
        figure += f", after {spread.p50:.0f} ms (slowest {spread.max:.0f} ms)"
    passed = len(yielded) == len(interruptions) and spread is not None and spread.p50 <= STOP_MS
    return _criterion("interruptible", passed, figure)


def _backchannels(talked: Mapping[str, Any]) -> Criterion:
    said, stops = len(talked["backchannels"]), talked["backchannel_stops"]
    if not said:
        return _not_judged("backchannels", "the caller said nothing of the kind")
    return _criterion("backchannels", not stops, f"it fell silent after {stops} of {said}")


def _no_silence(talked: Mapping[str, Any]) -> Criterion:
    longest, at_s = talked["longest_silence_s"], talked["longest_silence_at_s"]
    if talked["first_speaker"] is None:
        return _criterion("no_silence", passed=False, figure="nobody spoke at all")
    figure = f"longest {longest:.1f} s, at {at_s:.0f} s"
    return _criterion("no_silence", longest <= SILENCE_S, figure)


def _quality(line: LineFacts) -> Criterion:
    if line.clipped_share is None and line.stoi is None:
        return _not_judged("quality", "the line was not measured")
    figures, passed = list[str](), True
    if line.stoi is not None:
        figures.append(f"STOI {line.stoi:.3f}")
        passed = passed and line.stoi >= 0.95  # noqa: PLR2004 - as in the rehearsal's checklist
    if line.clipped_share is not None:
        figures.append(f"{line.clipped_share:.2%} of the bot's voice at full scale")
        passed = passed and line.clipped_share <= CLIPPED_SHARE
    if line.underrun_share is not None:
        figures.append(f"gaps at the ear {line.underrun_share:.2%} of the call")
        passed = passed and line.underrun_share <= UNDERRUN_SHARE
    return _criterion("quality", passed, ", ".join(figures))


def _no_echo(line: LineFacts) -> Criterion:
    if line.echo_db is None:
        return _not_judged("no_echo", "the echo was not measured")
    if line.echo_db == MAX_LOSS_DB:
        return _criterion("no_echo", passed=True, figure=f"none found: at least {MAX_LOSS_DB:.0f} dB below")
    return _criterion("no_echo", line.echo_db >= ECHO_DB, f"{line.echo_db:.0f} dB below the bot's voice")


_WORDS = {
    "natural": (
        "The caller can speak naturally",
        "no pause taken, no turn cut into",
        "Turn-taking is the model's: try another model, voice or persona (docs/personas.md).",
    ),
    "in_time": (
        "It responds within 200 to 300 ms",
        f"median ≤ {RESPONSE_MS:.0f} ms at the ear",
        "See whether the line or the model is slow: the delay in /calls and `bot.py rehearse`; then `bot.py "
        "bench`.",
    ),
    "interactive": (
        "Interactive conversation works",
        f"≥ {ANSWERED_SHARE:.0%} of the turns answered",
        "Listen to the recording at the turns without an answer: was the caller to be heard?",
    ),
    "no_detector": (
        "No delay of a silence detector",
        f"the quickest quarter ≤ {DETECTOR_MS:.0f} ms",
        "Something waits for silence before it answers: look for voice activity detection in the pipeline or "
        "at the server.",
    ),
    "interruptible": (
        "Full duplex: it can be interrupted",
        f"it stops each time, median ≤ {STOP_MS:.0f} ms",
        "Look whether the caller's voice reaches the engine while it speaks, and how long the playout lead "
        "is (/calls).",
    ),
    "backchannels": (
        'A "mm-hm" does not stop it',
        "it speaks on",
        "The engine takes every sound for an interruption: voice activity detection, or the model itself.",
    ),
    "no_silence": (
        "Nobody sits in silence",
        f"≤ {SILENCE_S:.0f} s",
        "Listen at that moment: who should have spoken? --silence-secs and --mute-secs end such calls.",
    ),
    "quality": (
        "The audio quality is acceptable",
        f"STOI ≥ 0.95, at full scale ≤ {CLIPPED_SHARE:.1%}, gaps ≤ {UNDERRUN_SHARE:.1%}, where known",
        "Full scale: the engine's own voice is too loud. Gaps: the machine is too slow (`bot.py bench`), or "
        "the network.",
    ),
    "no_echo": (
        "No echo",
        f"≥ {ECHO_DB:.0f} dB below the bot's voice",
        "The caller's phone returns what it plays: --echo-cancel auto (docs/echo.md), or another phone, no "
        "loudspeaker.",
    ),
}


def _criterion(key: str, passed: bool | None, figure: str) -> Criterion:
    title, bound, remedy = _WORDS[key]
    return Criterion(key, title, passed, figure, bound, remedy)


def _not_judged(key: str, why: str) -> Criterion:
    return _criterion(key, None, f"not judged: {why}")
