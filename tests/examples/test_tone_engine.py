from __future__ import annotations

import numpy as np
import pytest

from examples.tone_engine import HIGH_HZ, LOW_HZ, ToneEngine
from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ
from moshi_phone.engines.choose import create_engine
from moshi_phone.engines.duplex import EngineBusy
from moshi_phone.engines.options import EngineOptions
from moshi_phone.server.calls.state import ServerState
from tests.support.phone import Phone, serving

SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


def pitch_hz(pcm: np.ndarray[tuple[int], np.dtype[np.float32]]) -> float:
    """Return the frequency, from the zero crossings."""
    return float(np.sum(np.diff(np.signbit(pcm)))) / 2 * SAMPLE_RATE_HZ / len(pcm)


async def test_the_tone_rises_while_the_caller_speaks() -> None:
    session = ToneEngine().open_session()
    outputs = session.outputs()
    heard = []
    for frame in [SILENCE] * 5 + [SILENCE + 0.5] * 5:
        session.feed(frame)
        step = await anext(outputs)
        assert step.pcm is not None
        heard.append(step.pcm)
    assert pitch_hz(np.concatenate(heard[:5])) == pytest.approx(LOW_HZ, rel=0.02)
    assert pitch_hz(np.concatenate(heard[5:])) == pytest.approx(HIGH_HZ, rel=0.02)
    seams = np.abs(np.diff(np.concatenate(heard)))
    assert seams.max() < 0.1 * 2 * np.pi * HIGH_HZ / SAMPLE_RATE_HZ * 1.01, "it clicks"
    await session.close()


async def test_it_has_four_sessions() -> None:
    engine = ToneEngine()
    sessions = [engine.open_session() for _ in range(4)]
    with pytest.raises(EngineBusy, match="All 4 tones are taken"):
        engine.open_session()
    for _ in range(2):  # as any session, it may be closed twice
        await sessions[0].close()
    assert engine.running == 3
    await engine.open_session().close()


async def test_it_is_selected_by_name_on_the_command_line() -> None:
    choice = create_engine(EngineOptions(engine="examples.tone_engine:ToneEngine"))
    assert choice.line == "Engine: tone, user-supplied."
    async with serving(ServerState(choice.engine)) as address, Phone.calling(address) as phone:
        await phone.say(times=8)
        assert len(await phone.listen(2)) == 2 * 640
