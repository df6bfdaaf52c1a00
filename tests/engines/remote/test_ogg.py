"""Ogg pages: found in a stream with any message boundaries; damaged ones are reported."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import sphn
from hypothesis import given
from hypothesis import strategies as st

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ
from moshi_phone.engines.remote.ogg import PageSplitter, checksum, is_sound


def ogg(frames: int) -> bytes:
    writer = sphn.OpusStreamWriter(SAMPLE_RATE_HZ)
    tone = (0.3 * np.sin(np.arange(frames * FRAME_SAMPLES) / 9)).astype(np.float32)
    return bytes(writer.append_pcm(tone))


STREAM = ogg(5)
PAGES = [page.data for page in PageSplitter().push(STREAM)]


def test_reads_pages_of_another_encoder() -> None:
    assert b"".join(PAGES) == STREAM
    assert len(PAGES) == 12  # two of headers, two for 80 ms
    assert all(is_sound(page) for page in PAGES)


def test_the_checksum_is_that_of_rfc_3533() -> None:
    # By the book, bit after bit: beside the one that turns zlib's around.
    page = bytearray(PAGES[2])
    page[22:26] = bytes(4)
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (0x04C11DB7 if register & 0x80000000 else 0)
            register &= 0xFFFFFFFF
    assert checksum(PAGES[2]) == register == int.from_bytes(PAGES[2][22:26], "little")


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_message_boundaries_do_not_matter(cuts: list[int]) -> None:
    splitter = PageSplitter()
    ends = [0, *sorted(cuts), len(STREAM)]
    pages = [page for a, b in pairwise(ends) for page in splitter.push(STREAM[a:b])]
    assert [page.data for page in pages] == PAGES
    assert all(page.sound for page in pages)
    assert splitter.skipped_bytes == 0


def test_a_page_is_complete_with_its_last_byte() -> None:
    splitter = PageSplitter()
    assert splitter.push(PAGES[0][:-1]) == []
    assert [page.data for page in splitter.push(PAGES[0][-1:])] == [PAGES[0]]


@pytest.mark.parametrize("junk", [b"x", b"Ogg", b"OggOggOgg", b"OggS", bytes(1000)])
def test_bytes_between_pages_are_skipped(junk: bytes) -> None:
    splitter = PageSplitter()
    pages = splitter.push(junk + PAGES[0] + junk + PAGES[1] + PAGES[2])
    assert [page.data for page in pages if page.sound] == PAGES[:3]
    assert splitter.skipped_bytes == 2 * len(junk)


def test_a_damaged_page_is_reported_and_the_next_one_read() -> None:
    damaged = PAGES[3][:-5] + b"12345"
    pages = PageSplitter().push(PAGES[2] + damaged + PAGES[4])
    assert [page.sound for page in pages] == [True, False, True]


@pytest.mark.parametrize("at", [26, 27])
@pytest.mark.parametrize("value", [0, 255])
def test_a_damaged_length_does_not_block_the_stream(at: int, value: int) -> None:
    damaged = PAGES[3][:at] + bytes([value]) + PAGES[3][at + 1 :]
    splitter = PageSplitter()
    sound = [page.data for page in splitter.push(PAGES[2] + damaged + PAGES[4]) if page.sound]
    sound += [page.data for page in splitter.push(PAGES[5]) if page.sound]
    assert sound == [PAGES[2], PAGES[4], PAGES[5]]


@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing(junk: bytes) -> None:
    splitter = PageSplitter()
    splitter.push(junk)
    last = [page.data for page in splitter.push(PAGES[4] + PAGES[5]) if page.sound]
    assert last[-1] == PAGES[5]
