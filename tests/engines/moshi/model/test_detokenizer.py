from __future__ import annotations

from pathlib import Path

import pytest
import sentencepiece

from moshi_phone.commands.random_model import write_tiny_tokenizer
from moshi_phone.engines.moshi.model.detokenizer import Detokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> sentencepiece.SentencePieceProcessor:
    path = tmp_path_factory.mktemp("text") / "tiny.model"
    write_tiny_tokenizer(path, 100)
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def test_pieces_join_to_the_text_with_a_space_before_each_word(
    tokenizer: sentencepiece.SentencePieceProcessor,
) -> None:
    pieces = Detokenizer(tokenizer)
    tokens = tokenizer.encode("bado gimu ra")
    assert "".join(pieces.push(token) for token in tokens) == " bado gimu ra"


def test_special_tokens_are_skipped(tokenizer: sentencepiece.SentencePieceProcessor) -> None:
    pieces = Detokenizer(tokenizer)
    assert [pieces.push(token) for token in range(4)] == ["", "", "", ""]


def test_a_letter_split_over_tokens_is_joined(tmp_path: Path) -> None:
    class Bytes:
        """A tokenizer of bytes: Kyutai's uses such pieces for unknown letters."""

        def get_piece_size(self) -> int:
            return 256

        def is_byte(self, token: int) -> bool:
            return True

        def id_to_piece(self, token: int) -> str:
            return f"<0x{token:02X}>"

    pieces = Detokenizer(Bytes())
    assert [pieces.push(byte) for byte in "né".encode()] == ["n", "", "é"]
