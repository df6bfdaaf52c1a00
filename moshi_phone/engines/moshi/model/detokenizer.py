"""Text tokens to text, and the special tokens of the text stream."""

from __future__ import annotations

import codecs

from sentencepiece import SentencePieceProcessor

NEW_WORD_TOKEN = 0  # ends padding: a word begins
PADDING_TOKEN = 3
FIRST_SPOKEN_TOKEN = 4  # 1 and 2 begin and end a text; from 4 on, tokens are pieces of words
SPECIAL_TOKENS = frozenset(range(FIRST_SPOKEN_TOKEN))


class Detokenizer:
    """Incremental decoder of one call's text. A word's first piece keeps its leading space.

    Args:
        tokenizer: the tokenizer of the model that writes the tokens.
    """

    def __init__(self, tokenizer: SentencePieceProcessor) -> None:
        self._tokenizer = tokenizer
        self._pieces: int = tokenizer.get_piece_size()
        # A character's bytes may span several tokens. Invalid UTF-8 must not end the call: "replace".
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """Return the text that a token adds; empty for special tokens and incomplete characters."""
        if token in SPECIAL_TOKENS or token >= self._pieces:  # with random weights there may be fewer pieces
            return ""
        piece: str = self._tokenizer.id_to_piece(token)
        if self._tokenizer.is_byte(token):  # such a piece reads "<0xC3>"
            return self._bytes.decode(bytes([int(piece[1:-1], 16)]))
        return piece.replace("▁", " ")
