"""The test report of a call, as Markdown and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.conversation.criteria import Criterion, LineFacts
from moshi_phone.conversation.echo import MAX_LOSS_DB
from moshi_phone.conversation.facts import CallFacts


def as_markdown(
    facts: CallFacts,
    talked: Mapping[str, Any],
    criteria: Sequence[Criterion],
    *,
    picture: str = "",
    more: Sequence[str] = (),
) -> str:
    """Return the report as Markdown.

    Args:
        facts: facts about the call.
        talked: the summary of its conversation.
        criteria: its criteria.
        picture: the picture's file name, or empty.
        more: further paragraphs, before the picture.
    """
    failed = [point for point in criteria if point.passed is False]
    points = "point does" if len(failed) == 1 else "points do"
    verdict = f"{len(failed)} {points} not hold." if failed else "Every point that could be judged holds."
    parts = [
        f"# Test report: {facts.name or 'a call'}",
        _table(facts, talked),
        f"**{verdict}** {headline(talked)}",
        "## Criteria",
        "\n".join(as_line(point) for point in criteria),
        "## Questions",
        "\n".join(
            f"{number}. **{question}** {answer}" for number, (question, answer) in _questions(facts, talked)
        ),
        *more,
    ]
    if failed:
        parts += ["## What to do", "\n".join(f"- **{point.title}**: {point.remedy}" for point in failed)]
    if picture:
        parts += ["## The call", f"![who spoke when]({picture})"]
    return "\n\n".join(parts) + "\n"


def as_json(facts: CallFacts, talked: Mapping[str, Any], criteria: Sequence[Criterion]) -> dict[str, Any]:
    """Return the report in the format of ``report.json`` and ``review --json``."""
    known = {name: value for name, value in asdict(facts).items() if name not in ("words", "line")}
    return {
        **known,
        "conversation": dict(talked),
        "criteria": [asdict(point) for point in criteria],
        "line": asdict(facts.line),
    }


def headline(talked: Mapping[str, Any]) -> str:
    """Return the conversation's main figures in one sentence, as in the log's summary of a call."""
    gaps = Percentiles.of([response["gap_ms"] for response in talked["responses"]])
    stops = [one["stop_ms"] for one in talked["interruptions"] if one["stop_ms"] is not None]
    parts = []
    if gaps:
        parts.append(f"answered after {gaps.p50 / 1000:.2f} s (median of {len(talked['responses'])})")
    elif talked["turns"]:
        parts.append(f"answered none of {talked['turns']} turns")
    if count := len(talked["interruptions"]):
        stop = Percentiles.of(stops)
        after = f"stopped after {stop.p50 / 1000:.1f} s" if stop else "did not stop"
        parts.append(f"{after} ({count} interruption{'s' if count > 1 else ''})")
    if talked["first_speaker"] is None:
        parts.append("nobody spoke")
    parts.append(f"longest silence {talked['longest_silence_s']:.1f} s")
    sentence = ", ".join(parts)
    return sentence[0].upper() + sentence[1:] + "."


def _table(facts: CallFacts, talked: Mapping[str, Any]) -> str:
    rows = {
        "date": facts.date,
        "answered by": facts.answered_by,
        "machine": facts.machine,
        "version": facts.version,
        "call": facts.call,
        "length": f"{talked['secs']:.0f} s",
        "ended": facts.ended,
    }
    lines = [f"| {name} | {value.replace('|', '/')} |" for name, value in rows.items() if value]
    return "\n".join(["| | |", "|---|---|", *lines])


def as_line(point: Criterion) -> str:
    """Format one criterion: ``[x]``, ``[ ]``, or why it was not judged."""
    if point.passed is None:
        return f"- {point.title}: {point.figure}"  # which begins with "not judged"
    return f"- [{'x' if point.passed else ' '}] {point.title} ({point.bound}): {point.figure}"


def _questions(facts: CallFacts, talked: Mapping[str, Any]) -> list[tuple[int, tuple[str, str]]]:
    share = talked["share"]
    answers = (
        ("What did you hear first?", _first(talked)),
        ("Was it in the engine's own voice?", _voice(facts)),
        (
            "Could you have a conversation?",
            f"{len(talked['responses'])} of {talked['turns']} turns were answered. Of the time, the caller "
            f"spoke {share['caller']:.0%}, the bot {share['bot']:.0%}, both at once {share['both']:.0%}, "
            f"nobody {share['nobody']:.0%}.",
        ),
        ("How was the latency?", _latency(facts.line, talked)),
        ("Could you interrupt?", _interrupted(talked)),
        ("How did it sound?", _sounded(facts.line)),
        ("Was there silence, or an echo?", _silent(facts.line, talked)),
        ("Any errors?", _errors(facts)),
    )
    return list(enumerate(answers, start=1))


def _first(talked: Mapping[str, Any]) -> str:
    if talked["first_speaker"] is None:
        return "Nothing: nobody spoke."
    return f"The {talked['first_speaker']}, {talked['first_speech_s']:.2f} s after the start."


def _voice(facts: CallFacts) -> str:
    if facts.own_voice is None:
        return "Not known: a recording does not tell."
    return "Yes, nothing else was played." if facts.own_voice else "No: something else was played first."


def _latency(line: LineFacts, talked: Mapping[str, Any]) -> str:
    spread = Percentiles.of([response["gap_ms"] for response in talked["responses"]])
    answered = (
        f"It answered {spread.p50:.0f} ms after the caller's end (median; p95 {spread.p95:.0f}, slowest "
        f"{spread.max:.0f} ms)."
        if spread
        else "Nothing was answered."
    )
    if line.delay_p95_ms is not None:
        answered += f" The line's own delay: p95 {line.delay_p95_ms:.0f} ms."
    return answered


def _interrupted(talked: Mapping[str, Any]) -> str:
    interruptions = talked["interruptions"]
    if not interruptions:
        return "Not judged: the caller did not interrupt."
    yielded = [one for one in interruptions if one["yielded"]]
    spread = Percentiles.of([one["stop_ms"] for one in yielded if one["stop_ms"] is not None])
    after = f", {spread.p50:.0f} ms after the caller's start (median)" if spread else ""
    return f"It stopped in {len(yielded)} of {len(interruptions)} interruptions{after}."


def _sounded(line: LineFacts) -> str:
    figures = []
    if line.stoi is not None:
        figures.append(f"STOI {line.stoi:.3f}")
    if line.clipped_share is not None:
        figures.append(f"{line.clipped_share:.2%} of the bot's voice at full scale")
    if line.underrun_share is not None:
        figures.append(f"gaps at the ear {line.underrun_share:.2%} of the call")
    return f"By its figures: {', '.join(figures)}." if figures else "Not judged: the line was not measured."


def _silent(line: LineFacts, talked: Mapping[str, Any]) -> str:
    silence = f"The longest silence was {talked['longest_silence_s']:.1f} s."
    if line.echo_db is None:
        echo = "the echo was not measured"
    elif line.echo_db == MAX_LOSS_DB:
        echo = "no echo was found"
    else:
        echo = f"an echo {line.echo_db:.0f} dB down"
    return f"{silence} {echo[0].upper()}{echo[1:]}."


def _errors(facts: CallFacts) -> str:
    errors = list(facts.line.errors)
    ended = f"The call ended: {facts.ended}." if facts.ended else ""
    return " ".join([*errors, ended]) or "None are known."
