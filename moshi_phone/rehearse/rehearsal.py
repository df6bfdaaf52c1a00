"""One rehearsed call from the webhook to the freed session, and several at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moshi_phone.rehearse.caller import Caller
from moshi_phone.rehearse.checks import CallContext, Criterion, check, held
from moshi_phone.rehearse.measure import Measurements, measure
from moshi_phone.rehearse.record import CallRecord
from moshi_phone.rehearse.status_client import StatusClient
from moshi_phone.rehearse.urls import beside
from moshi_phone.rehearse.webhook import NoStream, NoWebhook, ask_webhook

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
    """

    call_sid: str
    record: CallRecord
    found: Measurements
    points: list[Criterion]
    health: dict[str, Any] | None
    metrics: dict[str, Any] | None

    @property
    def held(self) -> bool:
        """Whether no point failed."""
        return held(self.points)


async def rehearse(
    target: Target,
    said: bytes,
    calls: int = 1,
    *,
    jitter_ms: float = 0.0,
    progress: Callable[[int], None] = lambda _: None,
) -> list[RehearsalResult]:
    """Make one call, or several at once, and judge each when all are over.

    Args:
        target: where to call.
        said: what each caller says: µ-law, 8 kHz.
        calls: how many at once.
        jitter_ms: by how much a caller's packets are held up at most.
        progress: told after each second of each call.
    """
    health = await StatusClient(target.url, target.password).health()
    sessions = int(health["sessions"]) if health and "sessions" in health else None

    async def one(number: int) -> _Call:
        if calls > 1:
            # By the call's number, so that two rehearsals dial alike.
            await asyncio.sleep(random.Random(number).uniform(0, _NOT_IN_STEP_S))
        caller = Caller(target.url, said, jitter_ms=jitter_ms, seed=number, progress=progress)
        return await _call(target, caller)

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
    return RehearsalResult(call.call_sid, call.record, found, points, health, call.metrics)
