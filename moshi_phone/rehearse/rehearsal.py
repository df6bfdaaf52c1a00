"""A rehearsal: one or several simultaneous calls, from the webhook to the freed session."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.conversation.criteria import Criterion as TalkCriterion
from moshi_phone.conversation.criteria import LineFacts
from moshi_phone.conversation.facts import CallFacts, echo_below_db, found_echo, words_of
from moshi_phone.conversation.review import Reviewed, review
from moshi_phone.rehearse.caller import Caller
from moshi_phone.rehearse.caller_voice import CallerVoice
from moshi_phone.rehearse.checks import CallContext, Criterion, check, held
from moshi_phone.rehearse.measure import Measurements, measure
from moshi_phone.rehearse.reacting_caller import ReactingCaller, Scene
from moshi_phone.rehearse.record import CallRecord
from moshi_phone.rehearse.room import Room
from moshi_phone.rehearse.scenes import judge_scenes
from moshi_phone.rehearse.status_client import StatusClient
from moshi_phone.rehearse.webhook import NoStream, NoWebhook, ask_webhook
from moshi_phone.runtime.call_log import short_sid
from moshi_phone.runtime.urls import beside

_NOT_IN_STEP_S = 0.5  # simultaneous callers dial within this time


@dataclass(frozen=True)
class Target:
    """The server to call, and facts known before the call.

    Attributes:
        url: the stream's URL.
        auth_token: key of the webhook's signature, if any.
        public_url: the URL that the signature covers.
        password: of the server's /calls, if any.
        ready_s: the server's start time, if the rehearsal started it.
        repeats_after_ms: intended delay of an engine that repeats the caller, if known.
    """

    url: str
    auth_token: str | None = field(default=None, repr=False)
    public_url: str | None = None
    password: str | None = field(default=None, repr=False)
    ready_s: float | None = None
    repeats_after_ms: float | None = None


@dataclass
class RehearsalResult:
    """The results of one rehearsed call.

    Attributes:
        call_sid: the call's SID.
        record: the call's record.
        found: its measurements.
        points: its checklist.
        health: the server's health before the call, if known.
        metrics: the server's final metrics of the call, including its words, if known.
        talk: the review of its conversation.
        scenes: verdicts by scene, for a reacting caller.
    """

    call_sid: str
    record: CallRecord
    found: Measurements
    points: list[Criterion]
    health: dict[str, Any] | None
    metrics: dict[str, Any] | None
    talk: Reviewed
    scenes: list[TalkCriterion] = field(default_factory=list[TalkCriterion])

    @property
    def held(self) -> bool:
        """Whether no criterion failed, of the line and of the conversation."""
        return held(self.points) and all(scene.passed is not False for scene in self.scenes)


async def rehearse(
    target: Target,
    said: bytes | Sequence[CallerVoice],
    calls: int = 1,
    *,
    jitter_ms: float = 0.0,
    make_room: Callable[[int], Room | None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
    take: int = 0,
) -> list[RehearsalResult]:
    """Make one or several simultaneous calls, and judge each after all have ended.

    Args:
        target: the server to call.
        said: the callers' audio, µ-law, 8 kHz; or voices of reacting callers, used in turn.
        calls: number of simultaneous calls.
        jitter_ms: maximum delay of a caller's packets.
        make_room: returns the room, with echo and noise, of the caller with this number.
        progress: called each second of each call.
        take: index of the reacting callers' first clips.
    """
    health = await StatusClient(target.url, target.password).health()
    sessions = int(health["sessions"]) if health and "sessions" in health else None

    async def one(number: int) -> _Call:
        if calls > 1:
            # Seeded with the call's number, so that rehearsals are reproducible.
            await asyncio.sleep(random.Random(number).uniform(0, _NOT_IN_STEP_S))
        speaks: bytes | ReactingCaller
        if isinstance(said, bytes):
            speaks = said
        else:
            speaks = ReactingCaller(said[(take + number) % len(said)], take + number)
        caller = Caller(
            target.url,
            speaks,
            jitter_ms=jitter_ms,
            seed=number,
            room=make_room(number),
            progress=progress,
        )
        call = await _call(target, caller)
        if isinstance(speaks, ReactingCaller):
            call.scenes = speaks.scenes
        return call

    made = await asyncio.gather(*(one(number) for number in range(calls)))
    free = await StatusClient(target.url, target.password).free(sessions) if sessions is not None else None
    # After all calls: measuring uses a core for a second, which would disturb running calls.
    return [_judge(target, call, health, free) for call in made]


@dataclass
class _Call:
    """A finished call, with facts beyond its record."""

    call_sid: str
    record: CallRecord
    metrics: dict[str, Any] | None = None
    prompts_before_stream: list[str] | None = None
    no_webhook: str = ""
    scenes: list[Scene] = field(default_factory=list[Scene])


async def _call(target: Target, caller: Caller) -> _Call:
    word, call_sid = StatusClient(target.url, target.password), caller.identity.call_sid
    call = _Call(call_sid, caller.record)
    try:
        connection = await ask_webhook(
            beside(target.url, "/twiml"), call_sid, auth_token=target.auth_token, public_url=target.public_url
        )
        call.prompts_before_stream = connection.prompts_before_stream
        caller.parameters = connection.parameters
    except NoWebhook as error:
        call.no_webhook = str(error)
    except NoStream as error:
        call.record.refused = str(error)
        return call
    async with word.listening(call_sid, caller.record.status_samples):
        await caller.call()
    call.metrics = await word.metrics(call_sid)
    return call


def _judge(
    target: Target, call: _Call, health: dict[str, Any] | None, free: tuple[bool, str] | None
) -> RehearsalResult:
    around = CallContext(
        ready=bool(health.get("ready")) if health else None,
        ready_s=target.ready_s,
        prompts_before_stream=call.prompts_before_stream,
        no_webhook=call.no_webhook,
        free=free[0] if free else None,
        session_free_detail=free[1] if free else "",
    )
    found = measure(call.record, repeats_after_ms=target.repeats_after_ms)
    points = check(around, call.record, found)
    talk = _review(call, found)
    scenes = judge_scenes(talk, call.scenes) if call.scenes else []
    return RehearsalResult(call.call_sid, call.record, found, points, health, call.metrics, talk, scenes)


def _review(call: _Call, found: Measurements) -> Reviewed:
    """Judge the conversation from the sent and the played audio."""
    record = call.record
    sides = [(32_767 * side).astype(np.int16) for side in (record.said_pcm, record.heard_pcm)]
    both = np.zeros((max(len(side) for side in sides), 2), np.int16)
    for index, side in enumerate(sides):
        both[: len(side), index] = side
    delay = Percentiles.of(found.delay_ms)
    line = LineFacts(
        delay_p95_ms=delay.p95 if delay else None,
        underrun_share=found.gap_ms / 1000 / record.secs if record.secs > 0 else None,
        clipped_share=found.clipped_share,
        stoi=found.quality.stoi if found.quality else None,
        echo_db=echo_below_db(call.metrics or {}),
        errors=tuple(error for error in (record.refused, record.broken) if error),
    )
    facts = CallFacts(
        call=short_sid(call.call_sid),
        own_voice=None if call.prompts_before_stream is None else not call.prompts_before_stream,
        ended=record.broken or record.refused or "the caller hung up",
        line=line,
        words=words_of((call.metrics or {}).get("words")),
        echo=found_echo(call.metrics or {}),
    )
    return review([both], facts)
