"""Text tokens to words; the numbers of the text stream that are not pieces of words."""

from __future__ import annotations

import codecs

from sentencepiece import SentencePieceProcessor

NEW_WORD_TOKEN = 0  # ends a padding: a word begins
PADDING_TOKEN = 3
FIRST_SPOKEN_TOKEN = 4  # 1 and 2 begin and end a text; all from here on are pieces of words
SPECIAL_TOKENS = frozenset(range(FIRST_SPOKEN_TOKEN))


class Detokenizer:
    """One call's text. Pieces keep the space that begins a word; letters may span several tokens.

    Args:
        tokenizer: of the model whose tokens these are.
    """

    def __init__(self, tokenizer: SentencePieceProcessor) -> None:
        self._tokenizer = tokenizer
        self._pieces: int = tokenizer.get_piece_size()
        # A letter's bytes may come in several tokens; what is no UTF-8 must not end the call.
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """Give the text that a token adds; empty for special tokens and for parts of a letter."""
        if token in SPECIAL_TOKENS or token >= self._pieces:  # with random weights there may be fewer pieces
            return ""
        piece: str = self._tokenizer.id_to_piece(token)
        if self._tokenizer.is_byte(token):  # such a piece reads "<0xC3>"
            return self._bytes.decode(bytes([int(piece[1:-1], 16)]))
        return piece.replace("▁", " ")
