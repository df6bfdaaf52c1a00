"""The report directory of a rehearsal: recordings, transcripts, measurements and pictures."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import soundfile

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.conversation.facts import CallFacts
from moshi_phone.conversation.overview import over_all, pooled
from moshi_phone.conversation.report import as_line, as_markdown
from moshi_phone.rehearse.checks import finite
from moshi_phone.rehearse.comparison import as_json, compare
from moshi_phone.rehearse.provenance import Provenance
from moshi_phone.rehearse.record import CallRecord
from moshi_phone.rehearse.rehearsal import RehearsalResult


def make_report_directory(directory: Path) -> None:
    """Create the directory, and check before the call that it is writable.

    Raises:
        OSError: when it is not writable.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=directory):  # otherwise a failure would show only after the call
        pass


def write_report(directory: Path, calls: list[RehearsalResult], provenance: Provenance) -> list[Path]:
    """Write the report of one call, or a comparison of several with a subdirectory for each.

    Args:
        directory: the target; created if necessary.
        calls: all calls of the rehearsal.
        provenance: the report's metadata.

    Returns:
        The files written.

    Raises:
        OSError: when a file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if len(calls) == 1:
        return _write_one(directory, calls[0], provenance)
    summary = {
        "held": all(call.held for call in calls),
        "points": as_json(compare(calls)),
        "calls": [_measured(call) for call in calls],
        "conversation": pooled([call.talk.talked for call in calls]),
        "over_all": {
            name: asdict(figure) if figure else None
            for name, figure in over_all([call.talk.talked for call in calls]).items()
        },
    }
    from moshi_phone.rehearse.comparison_picture import draw_comparison  # noqa: PLC0415 - loads matplotlib

    picture = directory / "calls.png"
    draw_comparison(picture, calls, provenance.line)
    written = [_write_json(directory / "report.json", provenance.as_json() | summary), picture]
    for number, call in enumerate(calls, start=1):
        below = directory / f"call-{number}"
        below.mkdir(exist_ok=True)
        written += _write_one(below, call, provenance)
    return written


def _write_one(directory: Path, call: RehearsalResult, provenance: Provenance) -> list[Path]:
    report = provenance.as_json() | _measured(call) | {"series": _series(call)}
    written = [
        _write_wav(directory / "call.wav", call.record),
        _write_json(directory / "report.json", report),
    ]
    from moshi_phone.conversation.picture import draw as draw_conversation  # noqa: PLC0415 - loads matplotlib
    from moshi_phone.rehearse.picture import draw  # noqa: PLC0415 - likewise

    picture = directory / "call.png"
    draw(picture, call.record, call.found, call.points, provenance.line)
    talk = replace(call.talk, facts=_facts(call, provenance, directory.name))
    draw_conversation(directory / "conversation.png", talk)
    more = [_scenes(call)] if call.scenes else []
    markdown = as_markdown(
        talk.facts, talk.talked, talk.criteria, picture="conversation.png", more=[*more, _line_points(call)]
    )
    (directory / "report.md").write_text(markdown, encoding="utf-8")
    transcript = directory / "transcript.txt"
    transcript.write_text(_transcript(call), encoding="utf-8")
    return [*written, directory / "report.md", picture, directory / "conversation.png", transcript]


def _facts(call: RehearsalResult, provenance: Provenance, name: str) -> CallFacts:
    options = provenance.options
    engine = provenance.engine or "engine unknown"
    details = [str(options[key]) for key in ("model", "voice") if options.get(key)]
    if engine == "moshi" and options.get("quantize", "auto") != "auto":  # the model's files determine it
        details.append(f"quantized to {options['quantize']} bits")
    return replace(
        call.talk.facts,
        name=name,
        date=f"{provenance.at:%Y-%m-%d %H:%M} UTC",
        answered_by=", ".join([engine, *details]),
        machine=provenance.machine,
        version=provenance.version,
    )


def _scenes(call: RehearsalResult) -> str:
    return "\n".join(["## Scenes", "", *map(as_line, call.scenes)])


def _line_points(call: RehearsalResult) -> str:
    lines = [
        f"- {point.title}: {point.figure}"
        if point.passed is None
        else f"- [{'x' if point.passed else ' '}] {point.title} ({point.bound}): {point.figure}"
        for point in call.points
    ]
    return "\n".join(["## The line", "", *lines])


def _write_wav(path: Path, record: CallRecord) -> Path:
    """Write a stereo file on one time line: sent audio left, played audio right."""
    said, heard = record.said_pcm, record.heard_pcm
    length = max(len(said), len(heard))
    sides = np.zeros((length, 2), np.float32)
    sides[: len(said), 0] = said
    sides[: len(heard), 1] = heard
    soundfile.write(path, sides, PHONE_RATE_HZ, subtype="PCM_16")
    return path


def _write_json(path: Path, report: dict[str, Any]) -> Path:
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return path


def _measured(call: RehearsalResult) -> dict[str, Any]:
    delay, lead = Percentiles.of(call.found.delay_ms), Percentiles.of(call.found.lead_ms)
    return {
        "call_sid": call.call_sid,
        "held": call.held,
        "points": [asdict(point) for point in call.points],
        "secs": round(call.record.secs, 3),
        "delay_ms": asdict(delay) if delay else None,
        "delay_by": call.found.delay_by,
        "lead_ms": asdict(lead) if lead else None,
        "caller_late_ms": round(call.found.late_ms, 2),
        "conversation": call.talk.talked,
        "criteria": [asdict(point) for point in call.talk.criteria],
        "scenes": [asdict(point) for point in call.scenes],
        "server": {"health": call.health, "call": call.metrics},
    }


def _series(call: RehearsalResult) -> dict[str, Any]:
    """Return the picture's data as numbers."""
    return {
        "delay_ms": finite(call.found.delay_ms),
        "lead_at_s": finite(call.found.lead_at_s),
        "lead_ms": finite(call.found.lead_ms),
        "in_flight_frames": finite(call.found.in_flight_frames),
        "gaps": [{"at_s": gap.heard_sample / PHONE_RATE_HZ, "ms": gap.ms} for gap in call.found.gaps],
    }


def _transcript(call: RehearsalResult) -> str:
    words = (call.metrics or {}).get("words")
    if not words:
        return "The bot put nothing into words, or the server does not tell.\n"
    return "".join(
        f"{float(line['at_s']):7.2f}  {line.get('speaker', 'bot'):<6}  {line['text']}\n" for line in words
    )
