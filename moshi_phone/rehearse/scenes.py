"""Verdicts on a rehearsed conversation, scene by scene. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from moshi_phone.conversation.conversation import (
    backchannels_of,
    interruptions_of,
    responses_of,
    turns_of,
)
from moshi_phone.conversation.criteria import STOP_MS, Criterion
from moshi_phone.conversation.events import Backchannel, Event
from moshi_phone.conversation.review import Reviewed
from moshi_phone.conversation.span import Span, bridged, common, total_s
from moshi_phone.conversation.turns import BOT_BRIDGE_S, TAKEOVER_S
from moshi_phone.rehearse.reacting_caller import Scene

GREETING_S = 3.0
ANSWER_MS = 500.0
"""Bound for a single answer; ``criteria.RESPONSE_MS`` is the bound for the median of many."""
BABBLE_SHARE = 0.5
_EDGE_S = 0.15
_AFTER_ASIDE_S = 2.5


def judge_scenes(call: Reviewed, scenes: Sequence[Scene]) -> list[Criterion]:
    """Return one criterion for each kind of scene, over all scenes of that kind."""
    by_key: dict[str, list[Scene]] = {}
    for scene in scenes:
        by_key.setdefault(scene.key, []).append(scene)
    return [judge(call, by_key[key]) for key, judge in _JUDGES.items() if key in by_key]


def _greeting(call: Reviewed, _: Sequence[Scene]) -> Criterion:
    first = min((span.begin_s for span in call.voices.bot), default=None)
    passed = first is not None and first <= GREETING_S and call.talked["first_speaker"] == "bot"
    figure = "it did not greet" if not passed else f"it spoke first, after {first:.2f} s"
    return _point("greeting", passed, figure)


def _question(call: Reviewed, scenes: Sequence[Scene]) -> Criterion:
    gaps_ms = [response.gap_ms for response in responses_of(_within(call, scenes))]
    if not gaps_ms:
        return _point("question", passed=False, figure="no answer")
    slowest = max(gaps_ms, key=abs)
    missing = len(scenes) - len(gaps_ms)
    figure = f"answered after {', '.join(f'{gap:.0f}' for gap in gaps_ms)} ms"
    if missing:
        figure += f", {missing} not answered"
    return _point("question", abs(slowest) <= ANSWER_MS and not missing, figure)


def _telling(key: str) -> Callable[[Reviewed, Sequence[Scene]], Criterion]:
    def judge(call: Reviewed, scenes: Sequence[Scene]) -> Criterion:
        if all(scene.said_s is None for scene in scenes):
            return _not_judged(key, "the caller has no such clip")
        turns = turns_of(_within(call, scenes))
        taken = sum(pause.taken for turn in turns for pause in turn.pauses)
        barged = sum(turn.bot_interruptions for turn in turns)
        figure = f"{taken} pauses taken" if taken else "it waited through"
        if barged:
            figure = f"it began to speak {barged} times while the caller did" + (
                f", {figure}" if taken else ""
            )
        return _point(key, not taken and not barged, figure)

    return judge


def _interruption(call: Reviewed, scenes: Sequence[Scene]) -> Criterion:
    if all(scene.said_s is None for scene in scenes):
        return _not_judged("interruption", "it never spoke for long enough to be interrupted")
    found = [one for one in interruptions_of(list(call.events)) if _is_said(one.at_s, scenes)]
    if not found:
        return _not_judged("interruption", "it had stopped before the caller began")
    yielded = [one for one in found if one.yielded and one.stop_ms is not None]
    figure = f"it stopped in {len(yielded)} of {len(found)}"
    stops_ms = [one.stop_ms for one in yielded if one.stop_ms is not None]
    if stops_ms:
        figure += f", after {', '.join(f'{ms:.0f}' for ms in stops_ms)} ms"
    passed = len(yielded) == len(found) and median(stops_ms) <= STOP_MS
    return _point("interruption", passed, figure)


def _backchannel(call: Reviewed, scenes: Sequence[Scene]) -> Criterion:
    if all(scene.said_s is None for scene in scenes):
        return _not_judged("backchannel", "it never spoke for long enough, or there is no such clip")
    found = [one for one in backchannels_of(list(call.events)) if _is_said(one.at_s, scenes)]
    if not found:
        return _not_judged("backchannel", "it had stopped before the caller said it")
    stops = sum(one.stopped for one in found)
    return _point("backchannel", not stops, f"it stopped for {stops} of {len(found)}")


def _aside(call: Reviewed, scenes: Sequence[Scene]) -> Criterion:
    said = [scene for scene in scenes if scene.said_s is not None]
    if not said:
        return _not_judged("aside", "the caller has no such clip")
    answers = [
        span
        for span in bridged(call.voices.bot, BOT_BRIDGE_S)
        for scene in said
        if (scene.said_s or 0.0) <= span.begin_s <= (scene.said_until_s or 0.0) + _AFTER_ASIDE_S
        and span.secs >= TAKEOVER_S
    ]
    figure = f"it answered, for {answers[0].secs:.1f} s" if answers else "it took no notice"
    return _point("aside", not answers, figure)


def _silence(call: Reviewed, scenes: Sequence[Scene]) -> Criterion:
    silent = [Span(scene.said_s or 0.0, scene.said_until_s or 0.0) for scene in scenes]
    spoken = common(list(call.voices.bot), silent)
    secs = total_s(silent)
    figure = f"it said nothing for {secs:.0f} s"
    if spoken:
        share, after_s = total_s(spoken) / secs, spoken[0].begin_s - silent[0].begin_s
        figure = f"it spoke after {after_s:.1f} s, {share:.0%} of the time"
    return _point("silence", total_s(spoken) <= BABBLE_SHARE * secs, figure)


_JUDGES: Mapping[str, Callable[[Reviewed, Sequence[Scene]], Criterion]] = {
    "greeting": _greeting,
    "question": _question,
    "pause": _telling("pause"),
    "story": _telling("story"),
    "interruption": _interruption,
    "backchannel": _backchannel,
    "aside": _aside,
    "silence": _silence,
}

_TURN_TAKING = "Turn-taking is the model's: try another model, voice or persona (docs/personas.md)."
_WORDS = {
    "greeting": (
        "It greets",
        f"within {GREETING_S:g} s",
        "See --greeting, and whether the engine was ready.",
    ),
    "question": (
        "It answers a question",
        f"each within {ANSWER_MS:.0f} ms",
        "See whether the line or the model is slow: /calls, and `bot.py bench`.",
    ),
    "pause": ("It waits through a pause in mid-sentence", "no pause taken", _TURN_TAKING),
    "story": ("It listens to something longer", "no pause taken, no turn cut into", _TURN_TAKING),
    "interruption": (
        "It stops when it is interrupted",
        f"each time, median ≤ {STOP_MS:.0f} ms",
        "Look whether the caller is heard while the engine speaks, and at the playout lead (/calls).",
    ),
    "backchannel": ('It speaks on after a "mm-hm"', "it never stops", _TURN_TAKING),
    "aside": ("It leaves words to somebody else alone", "no answer to them", _TURN_TAKING),
    "silence": (
        "It lets the caller be silent",
        f"it speaks at most {BABBLE_SHARE:.0%} of the time",
        _TURN_TAKING,
    ),
}


def _within(call: Reviewed, scenes: Sequence[Scene]) -> list[Event]:
    return [
        event
        for event in call.events
        if _is_said(event.at_s if isinstance(event, Backchannel) else event.begin_s, scenes)
    ]


def _is_said(at_s: float, scenes: Sequence[Scene]) -> bool:
    """Return whether a time falls within the key words of one of the scenes."""
    return any(
        scene.said_s is not None and scene.said_s - _EDGE_S <= at_s <= (scene.said_until_s or 0.0)
        for scene in scenes
    )


def _point(key: str, passed: bool | None, figure: str) -> Criterion:
    title, bound, remedy = _WORDS[key]
    return Criterion(key, title, passed, figure, bound, remedy)


def _not_judged(key: str, why: str) -> Criterion:
    return _point(key, None, f"not judged: {why}")
