"""``dial --persona``: the real command, and a call that the tiny PersonaPlex answers with that persona."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from moshi_phone.engines.duplex import CallOverrides
from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.options import EngineOptions
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.calls.state import ServerState
from tests.commands.dialled import PUBLIC, address_of, dialled
from tests.fakes.twilio_api import FakeTwilioApi
from tests.fakes.twilio_voice import CALLER, FakeTwilioVoice
from tests.support.phone import Phone, serving, start_message
from tests.support.program import account, program
from tests.support.waiting import until

LOUD = bytes([0x10, 0x90] * 80)
FRAMES = 8
INCOMING = "CA" + "2" * 32
ANNA, BEN = "dadada lolo memi", "bibibi koko"  # of the syllables that the tiny tokenizer knows
AS_ANNA, AS_BEN = CallOverrides(ANNA, "NATM0"), CallOverrides(BEN, "NATF2")
DIFFERENT, SAME = 0.5, 0.9  # of a call's bytes; samples are seeded, and sounds differ by rounding

pytestmark = pytest.mark.slow


async def talk(phone: Phone) -> bytes:
    for _ in range(FRAMES):
        await phone.say(LOUD, times=4)
        await phone.listen(1)
    await phone.send({"event": "stop"})
    await phone.closed()
    return phone.heard


async def heard_of(model: Path, requests: Sequence[CallOverrides]) -> list[bytes]:
    """Return what a caller hears of each persona from an engine in this process."""
    options = EngineOptions(model=str(model), quantize="none", seed=1, greeting="none", hang_secs=60)
    engine = MoshiEngine(options, codec_limit_frames=3000)
    state = ServerState(engine)
    heard = []
    async with serving(state) as address:
        for number, request in enumerate(requests):
            sid = f"CA{number:032x}"
            await until(lambda: engine.error is None, 60)  # the last call's codecs are being cleaned
            state.expected.add(sid, PendingCall(request=request), state.clock())
            async with Phone.calling(address, start_message(call_sid=sid)) as phone:
                heard.append(await talk(phone))
            await state.calls.wait_until_idle()
    return heard


@pytest.fixture(scope="module")
def anna_and_ben(tiny_personaplex: Path) -> tuple[bytes, bytes]:
    """What a caller hears of each of the two."""
    anna, ben = asyncio.run(heard_of(tiny_personaplex, (AS_ANNA, AS_BEN)))
    assert likeness(anna, ben) < DIFFERENT
    return anna, ben


def likeness(one: bytes, other: bytes) -> float:
    """Return the share of equal bytes."""
    return float(np.mean(np.frombuffer(one, np.uint8) == np.frombuffer(other, np.uint8)))


def environment(model: Path, calls: int = 1) -> dict[str, str]:
    return {
        "MOSHI_ENGINE": "moshi",
        "MOSHI_MODEL": str(model),
        "MOSHI_QUANTIZE": "none",
        "MOSHI_SEED": "1",
        "MOSHI_GREETING": "none",
        "MOSHI_CALLS": str(calls),
    }


async def test_a_call_answered_by_the_command_has_the_persona(
    tiny_personaplex: Path, anna_and_ben: tuple[bytes, bytes], tmp_path: Path
) -> None:
    (tmp_path / "anna.txt").write_text(f"{ANNA}\n")
    anna, ben = anna_and_ben
    options = ("--persona", f"@{tmp_path / 'anna.txt'}", "--voice", "NATM0")
    async with dialled(*options, environment=environment(tiny_personaplex)) as call:
        assert call.parameters.keys() == {"token"}, "the words stay here"
        assert ANNA not in call.form["Twiml"][0]
        async with await call.answered() as (phone, _):
            heard = await talk(phone)
        call.twilio.calls[call.sid]["status"] = "completed"
        assert await call.run.ends() == 0
        assert "dadada" not in call.run.said
    assert likeness(heard, anna) > SAME
    assert likeness(heard, ben) < DIFFERENT


async def test_the_dialled_number_selects_the_section(
    tiny_personaplex: Path, anna_and_ben: tuple[bytes, bytes], tmp_path: Path
) -> None:
    (tmp_path / "personas.toml").write_text(
        f'[default]\npersona = "{ANNA}"\nvoice = "NATM0"\n'
        f'[ben]\nnumbers = ["{CALLER}"]\npersona = "{BEN}"\nvoice = "NATF2"\n'
    )
    anna, ben = anna_and_ben
    options = ("--personas", str(tmp_path / "personas.toml"))
    async with dialled(*options, environment=environment(tiny_personaplex)) as call:
        async with await call.answered() as (phone, _):
            heard = await talk(phone)
        call.twilio.calls[call.sid]["status"] = "completed"
        assert await call.run.ends() == 0
        assert call.parameters.get("persona") == "ben", "a name, and not the words"
        assert "bibibi" not in call.run.said + call.form["Twiml"][0]
    assert likeness(heard, ben) > SAME
    assert likeness(heard, anna) < DIFFERENT


async def test_calls_answered_by_another_server_have_their_own_personas(
    tiny_personaplex: Path, anna_and_ben: tuple[bytes, bytes], tmp_path: Path, twilio: FakeTwilioApi
) -> None:
    (tmp_path / "personas.toml").write_text(f'[default]\npersona = "{BEN}"\nvoice = "NATF2"\n')
    anna, ben = anna_and_ben
    arguments = ("--public-url", PUBLIC, "--port", "0", "--personas", str(tmp_path / "personas.toml"))
    made = {**account(twilio), **environment(tiny_personaplex, calls=2)}
    async with program(*arguments, environment=made) as server:
        local = address_of(await server.says("Answering calls at ws://"))
        options = ("--persona", ANNA, "--voice", "NATM0")
        async with dialled(*options, elsewhere=local) as call:
            assert call.parameters.keys() == {"token", "persona", "voice"}
            assert (call.parameters["persona"], call.parameters["voice"]) == (ANNA, "NATM0")
            twiml = await call.voice.call_in(f"{PUBLIC}/twiml", INCOMING)
            assert BEN not in twiml
            async with (
                await call.answered() as (dialled_phone, _),
                call.voice.obey(twiml, INCOMING) as (other_phone, _),
            ):
                heard = await asyncio.gather(talk(dialled_phone), talk(other_phone))
            call.twilio.calls[call.sid]["status"] = "completed"
            assert await call.run.ends() == 0
            # A token for one persona does not admit a call with another.
            forged = call.form["Twiml"][0].replace(ANNA, "bababa")
            async with FakeTwilioVoice(PUBLIC, local).obey(forged, call.sid) as (phone, _):
                assert await phone.closed() == (1008, "the stream's token is not one of ours")
        server.signal(signal.SIGTERM)
        await server.ends()
        for said in (call.run.said, server.said):
            assert "dadada" not in said
            assert "bibibi" not in said
    assert likeness(heard[0], anna) > SAME
    assert likeness(heard[1], ben) > SAME
    assert likeness(*heard) < DIFFERENT
