"""Calls of a practice for the Calls page: rows, and the files of one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from moshi_phone.records.call_row import CallRow, Kind, Outcome, utc_text
from moshi_phone.rehearse.clip import CALLER_FILE

NUMBER, PERSON, CALLER = "+15550001111", "+15559990000", "+15551234567"
EVIL = '<img src=x onerror="document.title=1">'
"""What a caller would have the page take for markup."""
OUTCOMES = [
    (Outcome.ANSWERED, "the caller hung up", 72.4),
    (Outcome.TRANSFERRED, "the call was transferred to a person", 31.0),
    (Outcome.BUSY, "all 3 sessions are taken", 0.0),
    (Outcome.ANSWERED, "both said goodbye", 184.0),
    (Outcome.CLOSED, "outside the opening hours", 0.0),
    (Outcome.DENIED, "the number is on the --deny list", 0.0),
    (Outcome.NO_STREAM, "no audio came within 10 s", 0.0),
    (Outcome.FALLBACK, "all 3 sessions are taken", 0.0),
    (Outcome.FAILED, "the pipeline failed: RuntimeError", 12.0),
]
CONVERSATION = {
    "response": {"count": 12, "p50": 240.0, "p95": 410.0},
    "stop": {"count": 2, "p50": 320.0, "p95": 350.0},
    "turns": 12,
    "longest_silence_s": 2.4,
}


def rows(count: int, now: datetime | None = None) -> list[CallRow]:
    """Create rows, one every 20 minutes, the newest first."""
    now = now or datetime.now(UTC)
    made = list[CallRow]()
    for number in range(count):
        outcome, reason, secs = OUTCOMES[number % len(OUTCOMES)]
        began = now - timedelta(minutes=20 * number + 7)
        is_put_through = outcome is Outcome.TRANSFERRED
        made.append(
            CallRow(
                id=f"{number:016x}",
                call_sid=f"CA{number:032x}",
                began_at=utc_text(began),
                ended_at=utc_text(began + timedelta(seconds=secs)),
                from_number="anonymous" if number % 11 == 5 else f"+1555123{number % 7000:04}",
                to_number=NUMBER,
                section="dentist" if number % 3 else None,
                engine="moshi" if secs else "",
                secs=secs,
                outcome=outcome,
                reason=reason,
                transfer_to=PERSON if is_put_through else None,
                transfer_outcome=("completed", "no-answer")[number // 9 % 2] if is_put_through else None,
                transfer_secs=95.0 if is_put_through else None,
                metrics={"conversation": CONVERSATION, "delay": {"count": 900, "p50": 93.0, "p95": 120.0}},
            )
        )
    return made


def talked_call(folder: Path, now: datetime | None = None, *, words: str = EVIL) -> CallRow:
    """Create a call with a recording, a transcript and a report; caller and words contain markup."""
    name = "2026-11-30T08-00-00Z-CAfe"
    clip, rate_hz = soundfile.read(CALLER_FILE)
    caller = resample_poly(clip, 8_000, rate_hz)[: 8_000 * 12]
    both = np.zeros((len(caller) + 8_000 * 4, 2), np.float64)
    both[: len(caller), 0] = caller
    both[8_000 * 4 : 8_000 * 4 + len(caller), 1] = 0.6 * caller
    soundfile.write(folder / f"{name}.wav", both, 8_000, subtype="PCM_16")
    lines = [
        {"date": "2026-11-30T08:00:00Z", "call": "CAfe", "engine": "moshi"},
        {
            "at_s": 0.2,
            "speaker": "bot",
            "text": "Dental practice, this is Anna. How can I help you?",
        },
        {"at_s": 4.1, "speaker": "caller", "text": f"Hello, I need an appointment. {words}"},
        {"at_s": 9.0, "speaker": "bot", "text": "Of course. Would Tuesday at nine suit you?"},
    ]
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (folder / f"{name}.txt").write_text("words\n")
    (folder / name).mkdir()
    criteria = [
        {"title": "Answers in time", "figure": "240 ms (median of 12)", "bound": "400 ms", "passed": True},
        {"title": "Stops when interrupted", "figure": "1,240 ms", "bound": "600 ms", "passed": False},
        {"title": "No echo", "figure": "not judged: no echo was measured", "bound": "", "passed": None},
    ]
    (folder / name / "report.json").write_text(json.dumps({"criteria": criteria}))
    began = (now or datetime.now(UTC)) - timedelta(minutes=1)
    return CallRow(
        id="fe",
        call_sid="CAfe" + "0" * 30,
        began_at=utc_text(began),
        ended_at=utc_text(began + timedelta(seconds=16)),
        from_number=CALLER,
        to_number=NUMBER,
        section=EVIL,
        engine="moshi",
        secs=16.0,
        outcome=Outcome.ANSWERED,
        reason=f"the caller hung up {EVIL}",
        consent="told",
        metrics={
            "conversation": CONVERSATION,
            "echo": {"delay_ms": 380, "loss_db": 15.2, "removed_db": 25.4},
        },
        files={"recording": str(folder / f"{name}.wav"), "transcript": str(folder / f"{name}.txt")},
    )


def message() -> CallRow:
    """Create a voice message."""
    now = datetime.now(UTC)
    return CallRow(
        id="ff",
        kind=Kind.MESSAGE,
        began_at=utc_text(now),
        ended_at=utc_text(now),
        from_number="sip:a-very-long-name-of-somebody-who-calls@a-very-long-host.example.com",
        to_number=NUMBER,
        secs=14.0,
        outcome=Outcome.MESSAGE,
        text="Please call me back about the appointment on Tuesday.",
    )
