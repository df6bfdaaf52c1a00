from __future__ import annotations

from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi.checkpoint.random_model import write_tiny_tokenizer
from moshi_phone.engines.moshi.codec.call_codecs import CallCodecs
from moshi_phone.engines.moshi.greeting_recorder import GreetingRecorder
from moshi_phone.engines.moshi.model.forced_prefix import NO_PREFIX
from moshi_phone.engines.moshi.model.sampling import GREEDY
from moshi_phone.engines.moshi.model.text_tokens import PADDING_TOKEN
from moshi_phone.engines.options import NONE, SILENCE, EngineOptions
from tests.support.tiny_moshi import tiny_lm


@pytest.fixture(scope="module")
def codecs(mimi_file: Path) -> CallCodecs:
    codecs = CallCodecs.for_calls(mimi_file, 1)
    codecs.fill()
    return codecs


def recorder(codecs: CallCodecs, folder: Path, **options: object) -> GreetingRecorder:
    write_tiny_tokenizer(folder / "tiny.model", 100)
    return GreetingRecorder(
        EngineOptions(seed=1, **options),  # type: ignore[arg-type]
        tiny_lm(dim=64),
        GREEDY,
        codecs,
        SentencePieceProcessor(str(folder / "tiny.model")),
        lambda: None,
    )


@pytest.mark.parametrize("greeting", [NONE, SILENCE])
def test_silence_is_recorded_whatever_is_wanted_since_a_call_may_ask_for_it(
    codecs: CallCodecs, tmp_path: Path, greeting: str
) -> None:
    made = recorder(codecs, tmp_path, greeting=greeting, greeting_frames=4).record(None, lambda _: None)
    assert [frame.text_token for frame in made.silence] == [PADDING_TOKEN] * 4
    assert made.default == (made.silence if greeting == SILENCE else NO_PREFIX)


def test_words_that_cannot_be_said_are_a_reason_not_to_start(codecs: CallCodecs, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="--greeting cannot be said"):
        recorder(codecs, tmp_path, greeting="()").record(None, lambda _: None)


def test_the_program_s_end_ends_the_recording(codecs: CallCodecs, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    asked = recorder(codecs, tmp_path)
    with pytest.raises(Stopped):
        GreetingRecorder(asked.options, asked.model, asked.sampling, codecs, asked.tokenizer, stop).record(
            None, lambda _: None
        )
    assert codecs.is_ready  # what it took is given back
