"""Echoes in whole simulated calls: through the real server, serializer and ``phone_call``."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import no_echo
from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ, SAMPLE_RATE_HZ
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides
from moshi_phone.rehearse.caller import Caller
from moshi_phone.rehearse.room import Room
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.testing import FakeEngine, FakeSession
from tests.support.echoes import Floats, silence, speech
from tests.support.logs import Logged
from tests.support.phone import serving

SECS = 12.0
FROM_S = 5


def power_db(samples: Floats) -> float:
    return 10 * float(np.log10(np.mean(samples**2) + 1e-12))


def _opened(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> list[FakeSession]:
    """Return the sessions that the engine opens."""
    sessions, open_session = list[FakeSession](), engine.open_session

    def opened(request: CallOverrides = NO_OVERRIDES) -> FakeSession:
        sessions.append(open_session(request))
        return sessions[-1]

    monkeypatch.setattr(engine, "open_session", opened)
    return sessions


def test_the_conversation_of_a_simulated_call_is_analysed_to_its_end(logged: Logged) -> None:
    """In a thread, that took seconds of simulated time, and the call did not wait."""
    no_echo.whole_call(FakeEngine(), speech(3, caller=True))
    assert "did not stop" not in logged.text


@pytest.mark.slow
@pytest.mark.parametrize(("delay_ms", "loss_db"), [(150, 15), (400, 6)])
def test_an_engine_does_not_hear_itself(
    delay_ms: float, loss_db: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that speaks without a pause hears at least 20 dB less of its voice than the phone returns."""
    engine = no_echo.speaking(speech(SECS, pause_s=0.2))
    sessions = _opened(engine, monkeypatch)
    call = no_echo.whole_call(engine, silence(SECS), room=Room(delay_ms, loss_db), jitter_ms=20)
    heard = np.concatenate(list(sessions[0].heard))[FROM_S * SAMPLE_RATE_HZ :]
    returned = pcm.to_float(g711.decode(call.phone.sent))[FROM_S * PHONE_RATE_HZ :]
    assert power_db(returned) - power_db(heard) >= 20
    assert call.metrics.echo is not None
    assert call.metrics.echo.delay_ms == pytest.approx(delay_ms, abs=40)


@pytest.mark.timed
async def test_an_engine_does_not_hear_itself_over_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The playout lead is raised, or the phone's buffer would run dry on a busy machine."""
    engine = no_echo.speaking(speech(SECS, pause_s=0.2))
    sessions = _opened(engine, monkeypatch)
    settings = Settings(server=ServerOptions(playout_lead_ms=400), calls=CallOptions(silence_secs=0))
    async with serving(ServerState(engine, settings)) as address:
        said = bytes([g711.SILENCE]) * int(SECS * PHONE_RATE_HZ)
        caller = Caller(f"ws://{address}/stream", said, jitter_ms=20, room=Room(150, 15))
        await caller.call()
    # A stall of a busy machine moves the echo by up to a second: what counts begins a second after it.
    stalls_s = [gap.heard_sample / PHONE_RATE_HZ for gap in caller.record.ear.gaps if gap.ms > 10]
    steady = [at for at in range(FROM_S, int(SECS)) if not any(at - 1 < stall < at + 1 for stall in stalls_s)]
    if len(steady) < 2:
        pytest.skip("the machine stalls in each second")
    heard = np.concatenate(list(sessions[0].heard))
    less_db = [
        power_db(caller.record.heard_pcm[at * PHONE_RATE_HZ :][:PHONE_RATE_HZ])
        - 15
        - power_db(heard[at * SAMPLE_RATE_HZ :][:SAMPLE_RATE_HZ])
        for at in steady
    ]
    assert np.median(less_db) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("number", [*range(len(no_echo.KINDS)), 6, 39])
def test_no_echo_is_found_without_one(number: int) -> None:
    """One call of each kind; in the last two, a parrot's greeting used to hide that it repeats the caller."""
    metrics = no_echo.without_echo(number).metrics
    assert metrics.echo_listened_s > 3
    assert metrics.echo is None
    assert metrics.echo_canceller_ms == 0
