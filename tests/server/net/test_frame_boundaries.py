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


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(1, 1_600), max_size=12))
def test_only_complete_texts_are_read_whatever_the_chunks(
    described: list[tuple[Opcode, int, bool]], sizes: list[int]
) -> None:
    frames = [Frame(opcode, bytes(length), fin) for opcode, length, fin in described]
    written = [frame.serialize(mask=True) for frame in frames]
    stream = b"".join(written)
    begins = [sum(map(len, written[:n])) for n in range(len(written) + 1)]
    is_text = [  # those of 64 kB or more are the parser's
        frame.opcode is Opcode.TEXT and frame.fin and len(frame.data) < 1 << 16 for frame in frames
    ]
    boundaries, at = FrameBoundaries(), 0
    for size in [*sizes, *map(len, written)]:
        end = min(at + size, len(stream))
        whole: list[bytes] = []
        if at in begins and end in begins:
            inside = range(begins.index(at), begins.index(end))
            if all(is_text[n] for n in inside):
                whole = [bytes(frames[n].data) for n in inside]
        assert boundaries.whole_texts(stream[at:end]) == whole
        if not whole:
            boundaries.follow(stream[at:end])
        at = end


def test_unmasked_and_compressed_texts_are_left_to_the_parser() -> None:
    text = Frame(Opcode.TEXT, b"hello")
    assert FrameBoundaries().whole_texts(text.serialize(mask=True)) == [b"hello"]
    assert FrameBoundaries().whole_texts(text.serialize(mask=False)) == []
    compressed = text.serialize(mask=True)
    assert FrameBoundaries().whole_texts(bytes([compressed[0] | 0x40]) + compressed[1:]) == []
