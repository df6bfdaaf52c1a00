"""One rehearsed call from the webhook to the freed session, and several at once."""

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
from moshi_phone.conversation.facts import CallFacts, echo_below_db, words_of
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
from moshi_phone.rehearse.urls import beside
from moshi_phone.rehearse.webhook import NoStream, NoWebhook, ask_webhook
from moshi_phone.runtime.call_log import short_sid

_NOT_IN_STEP_S = 0.5  # callers at once do not all dial at the same moment


@dataclass(frozen=True)
class Target:
    """Where a rehearsal calls, and what is known of it beforehand.

    Attributes:
        url: the stream's.
        auth_token: what the webhook's signature is made with, where there is one.
        public_url: what the signature is made for.
        password: of the server's /calls, where it has one.
        ready_s: how long the server took to get ready, where it was started for this.
        repeats_after_ms: by how much its engine repeats the caller on purpose, where that is known.
    """

    url: str
    auth_token: str | None = field(default=None, repr=False)
    public_url: str | None = None
    password: str | None = field(default=None, repr=False)
    ready_s: float | None = None
    repeats_after_ms: float | None = None


@dataclass
class RehearsalResult:
    """All there is to say of one rehearsed call.

    Attributes:
        call_sid: its name.
        record: what went over the line.
        found: the measurements.
        points: the checklist.
        health: what the server said of itself before the call, where it did.
        metrics: what it said of the call in the end, where it did; its words are among them.
        talk: its conversation.
        scenes: how the conversation went, scene by scene, where the caller reacted.
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
        """Whether no point failed, of the line and of the conversation."""
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
    """Make one call, or several at once, and judge each when all are over.

    Args:
        target: where to call.
        said: what each caller says: µ-law, 8 kHz; or the voices of callers who react, taken in turn.
        calls: how many at once.
        jitter_ms: by how much a caller's packets are held up at most.
        make_room: gives the room, with echo and noise, that the caller of a number calls from.
        progress: told after each second of each call.
        take: which clips the callers who react begin with.
    """
    health = await StatusClient(target.url, target.password).health()
    sessions = int(health["sessions"]) if health and "sessions" in health else None

    async def one(number: int) -> _Call:
        if calls > 1:
            # By the call's number, so that two rehearsals dial alike.
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
    # Only now: measuring takes a core for a second, which no running call should have to wait for.
    return [_judge(target, call, health, free) for call in made]


@dataclass
class _Call:
    """A call that was made, and what was learnt beside it."""

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
    async with word.listening(call_sid, caller.record.told):
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
    """Judge the conversation, by what was said and what the ear got."""
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
    )
    return review([both], facts)
