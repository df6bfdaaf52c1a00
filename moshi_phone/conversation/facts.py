"""Facts about a call beyond its audio: date, engine, machine, line and words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moshi_phone.conversation.criteria import NO_FACTS, LineFacts
from moshi_phone.conversation.echo import MAX_LOSS_DB

LISTENED_S = 5.0
"""Bot speech after which an echo, if any, has been detected."""
_LONG_SID = re.compile(r"(CA\w{8})\w+")  # a SID is nearly a secret, and is part of each recording's name


@dataclass(frozen=True, slots=True)
class Words:
    """One utterance's words.

    Attributes:
        at_s: time of the first word, since the start of the call.
        speaker: ``caller`` or ``bot``.
        text: the words.
    """

    at_s: float
    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class FoundEcho:
    """The echo of a call.

    Attributes:
        at_s: when it was found, since the start of the call.
        delay_ms: its delay.
        loss_db: its attenuation.
        removed_db: its further attenuation by the canceller, since it was found; 0 if it was not cancelled.
    """

    at_s: float
    delay_ms: float
    loss_db: float
    removed_db: float = 0.0

    @property
    def label(self) -> str:
        """All of it in a few words."""
        outcome = f"cancelled since, {self.removed_db:.0f} dB weaker" if self.removed_db else "not cancelled"
        return f"echo: {self.delay_ms:.0f} ms, {self.loss_db:.0f} dB down; {outcome}"


@dataclass(frozen=True, slots=True)
class CallFacts:
    """Facts for a report; empty if unknown.

    Attributes:
        name: the call's name, for the report's title.
        date: its begin.
        answered_by: the engine, with its model, quantization and voice if known.
        machine: the engine's machine.
        version: this program's version.
        call: its SID, shortened.
        ended: why it ended.
        own_voice: whether the caller heard only the engine's own voice; None if unknown.
        line: facts about the line.
        words: the words of both speakers, in order.
        echo: its echo, if one was found.
    """

    name: str = ""
    date: str = ""
    answered_by: str = ""
    machine: str = ""
    version: str = ""
    call: str = ""
    ended: str = ""
    own_voice: bool | None = None
    line: LineFacts = NO_FACTS
    words: Sequence[Words] = ()
    echo: FoundEcho | None = None

    @property
    def line_of_text(self) -> str:
        """All of it in one line, for a picture."""
        known = (self.answered_by, self.date, self.call, self.machine, self.version)
        return " · ".join(part for part in known if part)


def facts_beside(recording: Path) -> CallFacts:
    """Read the files next to a recording: ``NAME.json`` (from ``--review``) and ``NAME.jsonl`` (words).

    Missing or invalid files are ignored: all facts are optional.
    """
    sidecar = _read_json(recording.with_suffix(".json"))
    heading, words = _read_words(recording.with_suffix(".jsonl"))
    metrics = sidecar.get("metrics")
    metrics = metrics if isinstance(metrics, dict) else {}
    sidecar_words = words_of(sidecar.get("words"))
    return CallFacts(
        name=_LONG_SID.sub(r"\1", recording.stem),
        date=_text(sidecar.get("began_at") or heading.get("date")),
        answered_by=_text(sidecar.get("answered_by") or sidecar.get("engine") or heading.get("engine")),
        machine=_text(sidecar.get("machine")),
        version=_text(sidecar.get("version")),
        call=_text(sidecar.get("call_sid") or heading.get("call"))[:10],
        ended=_text(sidecar.get("reason")),
        line=line_facts(metrics, sidecar.get("secs")),
        words=words or sidecar_words,
        echo=found_echo(metrics),
    )


def line_facts(metrics: Mapping[str, Any], secs: object) -> LineFacts:
    """Extract the facts about a line from a call's metrics (``/calls``, ``--on-end``)."""
    try:
        delay = metrics.get("delay") or {}
        underrun_ms = metrics.get("underrun_ms")
        known_secs = isinstance(secs, (int, float)) and secs > 0 and underrun_ms is not None
        return LineFacts(
            delay_p95_ms=float(delay["p95"]) if delay.get("count") else None,
            underrun_share=float(underrun_ms) / 1000 / float(secs) if known_secs else None,  # type: ignore[arg-type]
            echo_db=echo_below_db(metrics),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return NO_FACTS


def echo_below_db(metrics: Mapping[str, Any]) -> float | None:
    """Return the attenuation of the echo that reached the engine, from a call's metrics; None if unknown.

    ``MAX_LOSS_DB`` if no echo was found.
    """
    try:
        if (echo := metrics.get("echo")) is not None:
            return float(echo["loss_db"]) + float(echo.get("removed_db", 0.0))
        return MAX_LOSS_DB if float(metrics.get("echo_listened_s", 0.0)) >= LISTENED_S else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def found_echo(metrics: Mapping[str, Any]) -> FoundEcho | None:
    """Extract the echo from a call's metrics, if one was found."""
    try:
        echo = metrics["echo"]
        values = [float(echo[name]) for name in ("found_s", "delay_ms", "loss_db", "removed_db")]
    except (KeyError, TypeError, ValueError):
        return None
    return FoundEcho(*values)


def words_of(lines: object) -> list[Words]:
    """Parse a list of words in the format of ``/calls`` and transcripts; skips invalid entries."""
    words: list[Words] = []
    for line in lines if isinstance(lines, list) else ():
        try:
            words.append(Words(float(line["at_s"]), str(line.get("speaker", "bot")), str(line["text"])))
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
    return words


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_words(path: Path) -> tuple[dict[str, Any], list[Words]]:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError):
        return {}, []
    heading = lines[0] if lines and isinstance(lines[0], dict) and "text" not in lines[0] else {}
    return heading, words_of(lines)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
