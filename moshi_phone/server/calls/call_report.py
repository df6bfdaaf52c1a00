"""What ``--on-end`` is told of a call that is over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from moshi_phone.server.calls.call import Call


def call_report(call: Call, reason: str, engine: str) -> dict[str, Any]:
    """Put a call into JSON: docs/hooks.md has an example.

    Args:
        call: it is over.
        reason: why it ended.
        engine: who answered.
    """
    incoming, seen = call.expected.incoming, call.observations
    return {
        "event": "end",
        "call_sid": call.start.call_sid,
        "from": incoming.from_ if incoming else None,
        "to": incoming.to if incoming else None,
        "direction": incoming.direction if incoming else None,
        "began_at": _utc(call.began),
        "ended_at": _utc(datetime.now(UTC)),
        "secs": round(call.secs, 1),
        "reason": reason,
        "engine": engine,
        "words": words(call),
        "metrics": seen.metrics.summary(),
        "files": {name: str(file.path) for name, file in seen.kept.items()},
    }


def words(call: Call) -> list[dict[str, Any]]:
    """Give the lines that were said, in the order in which they began; ``speaker`` is caller or bot."""
    lines = call.observations.transcript.lines
    return [{"at_s": round(line.at_s, 2), "speaker": line.speaker, "text": line.text} for line in lines]


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
