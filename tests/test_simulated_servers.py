"""Whole calls with a remote server in simulated time: the delay that Opus and the sockets add."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest

from benchmarks.bursts import delays_s, talk
from bot import run_call
from moshi_phone.conversation.live import Judge
from moshi_phone.engines.remote.connection import Access
from moshi_phone.engines.remote.engine import RemoteEngine
from moshi_phone.engines.remote.options import RemoteOptions
from moshi_phone.engines.remote.query import RemoteCallSettings
from moshi_phone.engines.remote.server import Server
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.app import create_app
from tests.fakes.moshi_behaviour import Behaviour
from tests.fakes.moshi_server import FakeMoshiServer, moshi_server
from tests.support.inline_executor import InlineExecutor
from tests.support.phone import start_message
from tests.support.simulated import SimulatedPhone, run_simulated

LINE_MS = 83.0  # tests/test_simulated_call.py: a frame and the resamplers
OPUS_MS = 2 * 6.4


class AtOnce(Executor):
    """Runs work inline: a simulated clock would not wait for a thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


async def is_there(_: Server, __: Access) -> str | None:
    """Replaces a probe, which needs threads."""
    return None


def simulate(behaviour: Behaviour, secs: float = 20) -> tuple[list[float], FakeMoshiServer, SimulatedPhone]:
    """Let a caller talk with a server; return each burst's delay in ms, mouth to ear, as measured by the
    call.
    """
    said = talk(secs, seed=3)

    async def main() -> tuple[list[float], FakeMoshiServer, SimulatedPhone]:
        async with moshi_server(behaviour) as server:
            options = RemoteOptions(server=(f"{server.url}#{behaviour.kind}",))
            engine = RemoteEngine(
                options, RemoteCallSettings(greeting="none"), probe=is_there, coder=AtOnce()
            )
            await engine.start(lambda _: None)
            line = ServerState(engine, judge=Judge(InlineExecutor()))
            start = start_message()
            phone = SimulatedPhone(create_app(line, run_call), start)
            heard = await phone.talk(said.samples)
            assert (engine.running, engine.lost_calls) == (0, 0)
            await engine.stop()
            found = delays_s(said, heard)
            assert None not in found
            delays_ms = [1000 * (delay or 0.0) for delay in found]
            call = line.calls.find(start["start"]["callSid"])
            assert call
            assert call.observations.metrics.delay.quantile_ms(0.5) == pytest.approx(
                np.median(delays_ms), abs=2
            )
            return delays_ms, server, phone

    return run_simulated(main())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kyutai", "rust", "personaplex"])
def test_a_server_that_answers_at_once_adds_the_delay_of_opus(kind: Any) -> None:
    delays_ms, server, phone = simulate(Behaviour(kind, swallows=0))
    assert np.median(delays_ms) == pytest.approx(LINE_MS + OPUS_MS, abs=1.0)
    assert max(delays_ms) - min(delays_ms) <= 1.0
    assert not [gap for gap in phone.playback.gaps if gap.ms >= 1]
    assert server.visits[0].unknown_kinds == []


def test_swallowed_frames_add_no_delay() -> None:
    # Its answers are those to later frames: the mirror of the tests has them at once.
    delays_ms, _, _ = simulate(Behaviour(swallows=3))
    assert np.median(delays_ms) == pytest.approx(LINE_MS + OPUS_MS, abs=1.0)


def test_a_server_s_step_time_is_the_only_addition() -> None:
    delays_ms, _, _ = simulate(Behaviour(step_s=0.06))
    assert np.median(delays_ms) == pytest.approx(LINE_MS + OPUS_MS + 60, abs=1.0)
