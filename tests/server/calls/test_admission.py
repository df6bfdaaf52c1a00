from __future__ import annotations

import pytest

from moshi_phone.access.refusal import RefusalCause
from moshi_phone.server.calls.admission import reserve
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony.media_stream import Start
from moshi_phone.testing.engine import FakeEngine


async def test_each_call_gets_one_session_until_all_are_reserved() -> None:
    state = ServerState(FakeEngine(capacity=2))
    await state.engine.start(lambda _: None)
    assert reserve(state, "CA1") is None
    assert reserve(state, "CA1") is None  # Twilio repeats a request that got no answer
    assert reserve(state, "CA2") is None
    refusal = reserve(state, "CA3")
    assert refusal is not None
    assert (refusal.cause, refusal.reason) == (RefusalCause.BUSY, "all 2 sessions are taken")
    state.reservations.release("CA2")
    assert reserve(state, "CA3") is None


@pytest.mark.parametrize("cause", [RefusalCause.CLOSING, RefusalCause.ENGINE, RefusalCause.OVERLOAD])
async def test_a_refused_call_reserves_nothing(cause: RefusalCause, monkeypatch: pytest.MonkeyPatch) -> None:
    state = ServerState(FakeEngine(capacity=2))
    await state.engine.start(lambda _: None)
    state.calls.begin(Start("MZ1", "CA0", "AC1", {}, {}))  # without a call, load has another cause
    if cause is RefusalCause.CLOSING:
        state.calls.closing = "The server is closing."
    elif cause is RefusalCause.ENGINE:
        await state.engine.stop()
    else:
        monkeypatch.setattr(type(state.load), "reason", property(lambda _: "timers are late"))
    refusal = reserve(state, "CA1")
    assert refusal is not None
    assert refusal.cause is cause
    assert state.reservations.count(state.clock(), besides="") == 0
