"""The one line that the log has of each call when it is over: a sentence, then ``name=value`` pairs."""

from __future__ import annotations

import json

from telephony.calls import Call


def last_words(call: Call, reason: str) -> str:
    """Say how a call went, in one line that people and programs can read.

    The pairs are logfmt: values are bare where they hold no space, else JSON strings.
    """
    figures = call.watched.figures
    pairs: dict[str, object] = {
        "call": call.start.call_sid,
        "secs": round(call.secs, 1),
        "reason": reason,
        "frames": figures.frames,
        "delay_p50_ms": round(figures.delay.quantile_ms(0.5)),
        "delay_p95_ms": round(figures.delay.quantile_ms(0.95)),
        "lead_p95_ms": round(figures.lead.quantile_ms(0.95)),
        "most_backlog": figures.most_backlog_frames,
        "dropped": figures.dropped_frames,
        "trimmed_ms": round(figures.trimmed_ms),
        "gaps": figures.gaps,
        "gap_ms": round(figures.gap_ms),
        "overruns": figures.overruns,
    }
    return " ".join(f"{name}={_value(value)}" for name, value in pairs.items())


def _value(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(c in text for c in ' "=\\') or not text.isprintable() else text
