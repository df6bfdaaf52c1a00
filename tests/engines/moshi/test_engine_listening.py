"""The whole engine with both tiny models and the real codec: talking and listening at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from moshi_phone.audio.formats import FRAME_MS, Pcm
from moshi_phone.engines.choose import create_engine
from moshi_phone.engines.duplex import DuplexStep, EngineUnavailable
from moshi_phone.engines.moshi.codec.stream_codecs import Decoder
from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.moshi.model.token_history import Tokens
from moshi_phone.engines.options import EngineOptions
from tests.engines.moshi.engine_calls import settled, talk
from tests.engines.moshi.test_engine import GREETING_FRAMES
from tests.support.tiny_listening import write_tiny_listening

FRAMES = 12


async def a_call(options: EngineOptions) -> tuple[list[DuplexStep], list[str]]:
    engine, lines = MoshiEngine(options, codec_limit_frames=200), list[str]()
    await engine.start(lines.append)
    try:
        assert engine.capabilities == ({"say", "listen"} if options.listens else {"say"})
        session = engine.open_session()
        steps = await talk(session, range(FRAMES))
        await settled(engine)
        await session.close()
        assert engine.error is None
    finally:
        await engine.stop()
    return steps, lines


@pytest.mark.slow
async def test_listening_does_not_change_moshi_s_output(
    tiny_checkpoint: Path, tiny_listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens: list[list[int]] = []  # the sound itself differs by rounding from run to run
    decode = Decoder.decode

    def remember(decoder: Decoder, frame: Tokens) -> Pcm:
        tokens.append(frame.tolist())
        return decode(decoder, frame)

    monkeypatch.setattr(Decoder, "decode", remember)
    options = EngineOptions(model=str(tiny_checkpoint), seed=1, greeting_frames=GREETING_FRAMES)
    plain, _ = await a_call(options)
    plain_tokens, tokens = tokens, []
    listening = EngineOptions(
        model=str(tiny_checkpoint), seed=1, greeting_frames=GREETING_FRAMES, listen_model=str(tiny_listening)
    )
    steps, lines = await a_call(listening)
    assert f"The listening model comes from {tiny_listening}." in lines
    assert [step.text for step in steps] == [step.text for step in plain]
    assert tokens == plain_tokens
    assert len(tokens) >= FRAMES
    heard = [text for step in steps for text in step.caller_text]
    assert heard
    assert all(0 <= text.at_s <= FRAMES * FRAME_MS / 1000 for text in heard)
    assert [text.at_s for text in heard] == sorted(text.at_s for text in heard)
    assert any("listen" in step.timings_ms for step in steps)
    assert all(step.caller_text == () for step in plain)


@pytest.mark.slow
async def test_a_model_that_reads_fewer_codebooks_is_reported_at_the_start(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = write_tiny_listening(tmp_path / "sixteen", n_q=16, delays=[0] * 17)
    engine = MoshiEngine(EngineOptions(model=str(tiny_checkpoint), listen_model=str(folder), greeting="none"))
    with pytest.raises(EngineUnavailable, match="expected a model that listens, with n_q 32"):
        await engine.start(lambda _: None)


@pytest.mark.slow
async def test_the_model_s_leading_silence_is_encoded_by_the_codec(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    timing = {"audio_delay_seconds": 0.5, "audio_silence_prefix_seconds": 0.16}
    folder = write_tiny_listening(tmp_path / "late", card=2048, stt_config=timing)
    engine = MoshiEngine(EngineOptions(model=str(tiny_checkpoint), listen_model=str(folder), greeting="none"))
    await engine.start(lambda _: None)
    try:
        assert engine._loaded is not None
        assert engine._loaded.listening is not None
        assert [tokens.shape for tokens in engine._loaded.listening.silence] == [(32,)] * 2
    finally:
        await engine.stop()


def test_the_parrot_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineUnavailable, match="The parrot cannot listen for words; leave out --listen"):
        create_engine(EngineOptions(engine="parrot", listen=True))
    monkeypatch.setattr("moshi_phone.engines.choose.accelerator", lambda: None)
    assert "--listen is left out" in create_engine(EngineOptions(listen=True)).line
    assert "--listen" not in create_engine(EngineOptions()).line
