"""Where the frames of a WebSocket begin and end, for a short way past the parser. Pure."""

from __future__ import annotations

try:
    from websockets.speedups import apply_mask
except ImportError:  # no extension module for this system
    from websockets.utils import apply_mask

_FINAL_TEXT = 0x81  # first byte of an unfragmented text frame without extensions (RFC 6455, section 5.2)
_MASKED = 0x80
_TWO_BYTES_FOLLOW = 126  # in place of a length
_MIN_BYTES = 6  # of a masked frame
_MAX_HEAD_BYTES = 14


class FrameBoundaries:
    """Follows the frames of a client's stream, and reads those that arrive in one piece.

    websockets' parser takes 25 µs a frame, which is most of what a phone's packet costs. It must see either
    all of a frame or nothing of it.
    """

    def __init__(self) -> None:
        self._head = b""  # incomplete header of the current frame
        self._owed_bytes = 0  # of the current frame, not received yet

    def whole_texts(self, piece: bytes) -> list[bytes]:
        """Return the payloads of a piece that consists of whole text frames; otherwise an empty list."""
        if self._owed_bytes or self._head:
            return []
        payloads: list[bytes] = []
        at = 0
        while at < len(piece):
            if len(piece) - at < _MIN_BYTES or piece[at] != _FINAL_TEXT:
                return []
            begin, length = at + 6, piece[at + 1] - _MASKED
            if length == _TWO_BYTES_FOLLOW:
                begin, length = at + 8, piece[at + 2] << 8 | piece[at + 3]
            elif not 0 <= length < _TWO_BYTES_FOLLOW:  # unmasked, or longer than a piece
                return []
            at = begin + length
            if at > len(piece):
                return []
            payloads.append(apply_mask(piece[begin:at], piece[begin - 4 : begin]))
        return payloads

    def follow(self, piece: bytes) -> None:
        """Account for a piece that the parser has read."""
        at = self._owed_bytes
        while at < len(piece):
            head = self._head + piece[at : at + _MAX_HEAD_BYTES]
            if (frame_bytes := _frame_bytes(head)) is None:
                self._head, self._owed_bytes = head, 0
                return
            at += frame_bytes - len(self._head)
            self._head = b""
        self._owed_bytes = at - len(piece)


def _head_bytes(second: int) -> int:
    """Return the length of a header, given its second byte."""
    longer = {_TWO_BYTES_FOLLOW: 2, _TWO_BYTES_FOLLOW + 1: 8}.get(second & 0x7F, 0)
    return 2 + longer + (4 if second & _MASKED else 0)


def _frame_bytes(head: bytes) -> int | None:
    """Return the length of the frame with this header; None if the header is incomplete."""
    if len(head) < 2 or len(head) < _head_bytes(head[1]):  # noqa: PLR2004 - first byte and length
        return None
    length = head[1] & 0x7F
    if length >= _TWO_BYTES_FOLLOW:
        length = int.from_bytes(head[2 : 4 if length == _TWO_BYTES_FOLLOW else 10])
    return _head_bytes(head[1]) + length
