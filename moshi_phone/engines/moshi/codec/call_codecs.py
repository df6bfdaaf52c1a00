"""The codecs of all calls: an encoder and a decoder for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from moshi_phone.engines.duplex import EngineBusy
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS, LIMIT_FRAMES, LISTENING_CODEBOOKS
from moshi_phone.engines.moshi.codec.codec_pool import MimiPool
from moshi_phone.engines.moshi.codec.stream_codecs import Decoder, Encoder
from moshi_phone.runtime.retries import CallLater, later

CODECS_PER_CALL = 2


@dataclass(frozen=True)
class CallCodecs:
    """Pools for both directions: the same pool, unless callers are transcribed.

    Attributes:
        encoders: of 8 codebooks; of 32 with transcription, whose first 8 are the same.
        decoders: of 8.
    """

    encoders: MimiPool
    decoders: MimiPool

    @classmethod
    def for_calls(
        cls,
        mimi: Path,
        calls: int,
        limit_frames: int = LIMIT_FRAMES,
        *,
        listening: bool = False,
        run_later: CallLater = later,
    ) -> CallCodecs:
        """Create empty pools for a number of calls.

        Args:
            mimi: the codec's weights.
            calls: at once.
            limit_frames: how many frames each codec can take in its life.
            listening: whether to encode the caller in 32 codebooks, for transcription.
            run_later: schedules retries of loading.
        """
        if not listening:
            pool = MimiPool(mimi, CODECS_PER_CALL * calls, limit_frames, run_later=run_later)
            return cls(pool, pool)
        encoders, decoders = (
            MimiPool(mimi, calls, limit_frames, codebooks=codebooks, run_later=run_later)
            for codebooks in (LISTENING_CODEBOOKS, CODEBOOKS)
        )
        return cls(encoders, decoders)

    @property
    def is_ready(self) -> bool:
        """Whether a codec pair is free for the next call."""
        if self.encoders is self.decoders:
            return self.decoders.ready >= CODECS_PER_CALL
        return bool(self.encoders.ready and self.decoders.ready)

    def fill(self) -> None:
        """Load all codecs; takes a second for each.

        Raises:
            EngineUnavailable: when Mimi cannot be loaded.
        """
        self.encoders.fill()
        self.decoders.fill()

    def close(self) -> None:
        """Stop loading."""
        self.encoders.close()
        self.decoders.close()

    def take(self) -> tuple[Encoder, Decoder]:
        """Take an encoder and a decoder for a call; each is released separately.

        Raises:
            EngineBusy: when fewer than two codecs are free.
        """
        encoder = Encoder(self.encoders)
        try:
            return encoder, Decoder(self.decoders)
        except EngineBusy:
            # A call that gets only one of its two would leak it.
            encoder.release()
            raise
