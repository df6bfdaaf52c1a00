"""Opus in Ogg, the format of Moshi servers, by Kyutai's ``sphn``.

80 ms of speech become two packets of 40 ms, each in its own page, at once; each direction adds 6.5 ms of
codec delay. A frame takes 1.1 ms to encode and 0.1 ms to decode (measured); sphn releases the GIL meanwhile.
"""

from __future__ import annotations

import numpy as np
import sphn

from moshi_phone.audio.formats import SAMPLE_RATE_HZ, Pcm
from moshi_phone.engines.duplex import check_frame
from moshi_phone.engines.remote.ogg import PageSplitter

DELAY_MS = 6.5  # of one encoding and decoding: Opus's look-ahead, 312 samples at 48 kHz
PACKET_SAMPLES = SAMPLE_RATE_HZ * 40 // 1000  # of sphn's packets
MAX_PAGE_SAMPLES = SAMPLE_RATE_HZ  # servers send 20 to 80 ms a page; sphn turns an empty packet into 5 s


class OpusEncoder:
    """Encodes a caller's frames as one Ogg stream."""

    def __init__(self) -> None:
        self._writer = sphn.OpusStreamWriter(SAMPLE_RATE_HZ)

    def encode(self, pcm: Pcm) -> bytes:
        """Return the pages for 80 ms, float32 ``[1920]``, 24 kHz mono; the first ones contain the headers."""
        return bytes(self._writer.append_pcm(check_frame(pcm)))


class OpusDecoder:
    """Decodes a server's Ogg stream, independent of message boundaries, and survives damaged pages.

    Attributes:
        damaged_pages: number of pages replaced by silence, or by nothing if even their length was lost.
    """

    def __init__(self) -> None:
        self._splitter = PageSplitter()
        self._reader = sphn.OpusStreamReader(SAMPLE_RATE_HZ)
        # Length of the last intact packet: a damaged one becomes as much silence.
        self._packet_samples = PACKET_SAMPLES
        self.damaged_pages = 0

    def decode(self, ogg: bytes) -> Pcm:
        """Return the speech that these bytes complete: float32 ``[n]``, 24 kHz mono."""
        pieces = [self._decode_page(page.data, page.sound) for page in self._splitter.push(ogg)]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    def _decode_page(self, page: bytes, sound: bool) -> Pcm:
        if sound:
            try:
                pcm: Pcm = self._reader.append_bytes(page)
            except ValueError:  # an Ogg page, but no Opus in it
                self._reader = sphn.OpusStreamReader(SAMPLE_RATE_HZ)
            else:
                if 0 < pcm.size <= MAX_PAGE_SAMPLES:
                    self._packet_samples = pcm.size
                if pcm.size <= MAX_PAGE_SAMPLES:
                    return pcm
        self.damaged_pages += 1
        # As much silence as the page before had speech, so that later audio keeps its time.
        return np.zeros(self._packet_samples, np.float32)
