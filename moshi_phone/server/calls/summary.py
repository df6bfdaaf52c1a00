"""The one line that the log has of each call when it is over: a sentence, then ``name=value`` pairs."""

from __future__ import annotations

import json

from moshi_phone.server.calls.call import Call


def summary(call: Call, reason: str) -> dict[str, object]:
    """Say how a call went, by name: counts, and milliseconds or seconds where the name says so."""
    metrics = call.observations.metrics
    return {
        "call": call.start.call_sid,
        "secs": round(call.secs, 1),
        "reason": reason,
        "frames": metrics.frames,
        "delay_p50_ms": round(metrics.delay.quantile_ms(0.5)),
        "delay_p95_ms": round(metrics.delay.quantile_ms(0.95)),
        "lead_p95_ms": round(metrics.playout_lead.quantile_ms(0.95)),
        "most_backlog": metrics.most_backlog_frames,
        "dropped": metrics.dropped_frames,
        "unsent": metrics.unsent_messages,
        "trimmed_ms": round(metrics.trimmed_ms),
        "underruns": metrics.underruns,
        "underrun_ms": round(metrics.underrun_ms),
        "deadline_misses": metrics.deadline_misses,
    }


def last_words(summary: dict[str, object]) -> str:
    """Write a call's summary in one line that people and programs can read.

    The pairs are logfmt: values are bare where they hold no space, else JSON strings.
    """
    return " ".join(f"{name}={_value(value)}" for name, value in summary.items())


def _value(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(c in text for c in ' "=\\') or not text.isprintable() else text
