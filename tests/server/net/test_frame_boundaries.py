from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from moshi_phone.server.net.frame_boundaries import FrameBoundaries

FRAMES = st.tuples(
    st.sampled_from([Opcode.TEXT, Opcode.TEXT, Opcode.BINARY, Opcode.CONT]),
    st.sampled_from([0, 1, 125, 126, 500, 66_000]),  # bytes of payload
    st.booleans(),  # whether it is a message's last one
)


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(1, 600), max_size=12))
def test_only_whole_texts_are_read_whatever_the_pieces(
    described: list[tuple[Opcode, int, bool]], sizes: list[int]
) -> None:
    frames = [Frame(opcode, bytes(length), fin) for opcode, length, fin in described]
    written = [frame.serialize(mask=True) for frame in frames]
    stream = b"".join(written)
    texts = {  # where a text frame lies in the stream; those of 64 kB or more are the parser's
        (sum(map(len, written[:n])), len(written[n])): frame.data
        for n, frame in enumerate(frames)
        if frame.opcode is Opcode.TEXT and frame.fin and len(frame.data) < 1 << 16
    }
    boundaries, at = FrameBoundaries(), 0
    for size in [*sizes, *map(len, written)]:
        piece = stream[at : at + size]
        whole = boundaries.whole_text(piece)
        assert whole == texts.get((at, len(piece)) if piece else (-1, 0))
        if whole is None:
            boundaries.follow(piece)
        at += len(piece)


def test_unmasked_and_compressed_texts_are_the_parser_s() -> None:
    text = Frame(Opcode.TEXT, b"hello")
    assert FrameBoundaries().whole_text(text.serialize(mask=True)) == b"hello"
    assert FrameBoundaries().whole_text(text.serialize(mask=False)) is None
    compressed = text.serialize(mask=True)
    assert FrameBoundaries().whole_text(bytes([compressed[0] | 0x40]) + compressed[1:]) is None
