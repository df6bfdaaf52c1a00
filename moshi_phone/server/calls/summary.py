"""Data of an ended call: a line for the log, JSON for ``--on-end``."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime

from moshi_phone.engines.options import EngineOptions
from moshi_phone.hooks.events import BeginEvent, EndEvent, SpokenLine
from moshi_phone.records.call_row import CallRow, Outcome
from moshi_phone.runtime.version import VERSION
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.reports import transfer_result
from moshi_phone.telephony.incoming_call import IncomingCall


def summary(call: Call, reason: str) -> dict[str, object]:
    """Return a call's counts and times by name; units are in the names (``_ms``, ``_s``, ``secs``)."""
    metrics = call.observations.metrics
    talk = metrics.conversation
    return {
        "call_sid": call.start.call_sid,
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
        "responses": talk.response.count,
        "response_p50_ms": round(talk.response.quantile_ms(0.5)),
        "interruptions": talk.interruptions,
        "stop_p50_ms": round(talk.stop.quantile_ms(0.5)),
        "longest_silence_s": round(talk.longest_silence_s, 1),
        "echo_delay_ms": round(metrics.echo.delay_ms) if metrics.echo else 0,
        "echo_loss_db": round(metrics.echo.loss_db) if metrics.echo else 0,
        "echo_removed_db": round(metrics.echo_removed_db),
    }


def as_logfmt(summary: dict[str, object]) -> str:
    """Format a call's summary as one line that people and programs can read.

    The pairs are logfmt: bare values without spaces, otherwise JSON strings.
    """
    return " ".join(f"{name}={_value(value)}" for name, value in summary.items())


def _value(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(c in text for c in ' "=\\') or not text.isprintable() else text


def call_report(call: Call, reason: str, engine: str, row: CallRow | None = None) -> EndEvent:
    """Describe an ended call for ``--on-end``.

    Args:
        call: the ended call.
        reason: why it ended.
        engine: name of the engine.
        row: its row; None without one.
    """
    seen, row = call.observations, row or CallRow(outcome=Outcome.ANSWERED)
    report = row_report(row, call.expected.incoming)
    return {
        **report,
        "call_sid": call.start.call_sid,
        "began_at": _utc(call.began),
        "ended_at": _utc(datetime.now(UTC)),
        "secs": round(call.secs, 1),
        "section": call.expected.section,
        "reason": reason,
        "engine": engine,
        "words": words(call),
        "metrics": seen.metrics.summary(),
        "files": {name: str(file.path) for name, file in seen.kept.items() if not file.is_lost},
    }


def row_report(row: CallRow, incoming: IncomingCall | None) -> EndEvent:
    """Describe a refused call, or a message, for ``--on-end``.

    Args:
        row: its row.
        incoming: has the full numbers, which the row may mask; None takes the row's.
    """
    now = _utc(datetime.now(UTC))
    return {
        "event": "end",
        "kind": row.kind,
        "call_sid": row.call_sid,
        "from": incoming.from_ if incoming else row.from_number or None,
        "to": incoming.to if incoming else row.to_number or None,
        "direction": incoming.direction if incoming else None,
        "began_at": f"{row.began_at[:19]}Z",
        "ended_at": f"{row.ended_at[:19]}Z" if row.ended_at else now,
        "section": row.section,
        "secs": row.secs,
        "outcome": row.outcome,
        "reason": row.reason,
        "transfer": transfer_result(row),
        "consent": row.consent,
        "engine": row.engine,
        "words": [],
        "metrics": {},
        "files": dict(row.files),
    }


def begin_report(call: Call, engine: str) -> BeginEvent:
    """Describe a call that begins, for ``--on-begin``."""
    incoming = call.expected.incoming
    return {
        "event": "begin",
        "call_sid": call.start.call_sid,
        "from": incoming.from_ if incoming else None,
        "to": incoming.to if incoming else None,
        "direction": incoming.direction if incoming else None,
        "section": call.expected.section,
        "began_at": _utc(call.began),
        "engine": engine,
    }


def about(engine: str, options: EngineOptions) -> dict[str, str]:
    """Return the heading data of a test report: engine, model, machine and version."""
    answered_by = [engine]
    if engine == "moshi":
        answered_by += [options.model or f"voice {options.voice}", f"{options.packing} bits"]
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count() or 1} cores"
    return {"answered_by": ", ".join(answered_by), "machine": machine, "version": VERSION}


def words(call: Call) -> list[SpokenLine]:
    """Return the transcript lines, ordered by their start; ``speaker`` is caller or bot."""
    lines = call.observations.transcript.lines
    return [{"at_s": round(line.at_s, 2), "speaker": line.speaker, "text": line.text} for line in lines]


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
