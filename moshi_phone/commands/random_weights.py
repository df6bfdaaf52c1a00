"""Random weights for ``bench``, with the shapes of the real ones: equally fast, without a download."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx

from moshi_phone.commands.random_model import randomize, write_random_mimi, write_tiny_tokenizer
from moshi_phone.engines.duplex import Progress
from moshi_phone.engines.moshi.checkpoint.checkpoint import MIMI_NAME, TOKENIZER_NAME, Checkpoint
from moshi_phone.engines.moshi.model.quantized_model import build, quantization_named
from moshi_phone.engines.moshi.persona.voices import Voices
from moshi_phone.engines.moshi.stt.checkpoint import ListeningCheckpoint, stt_1b
from moshi_phone.engines.options import EngineOptions
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, config_v0_1

LISTENING_TOKENIZER_NAME = "listening_tokenizer.model"


class RandomValues:
    """Implements ``Source`` with random values in the real shapes: nonsense at the real speed.

    Args:
        folder: for the codec's file, 385 MB.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, options: EngineOptions, progress: Progress) -> Checkpoint:
        """See ``Source``."""
        progress(f"Moshi gets random weights, as large as the real ones with --quantize {options.packing}.")
        tokenizer = self._folder / TOKENIZER_NAME
        write_tiny_tokenizer(tokenizer, 100)
        mimi = write_random_mimi(self._folder / MIMI_NAME)
        quantization = quantization_named(options.packing)
        takes_persona = bool(options.persona)
        return Checkpoint(self._folder, mimi, tokenizer, config_v0_1(), quantization, takes_persona)

    def find_voices(self, options: EngineOptions, progress: Progress) -> Voices:  # noqa: ARG002 - as Source has it
        """See ``Source``. There are none: nothing that could be known of random weights' voices."""
        return Voices(self._folder / "voices")

    def load(self, checkpoint: Checkpoint, progress: Progress) -> Lm:  # noqa: ARG002 - as Source has it
        """See ``Source``."""
        model = build(checkpoint.config, checkpoint.quantization)
        return randomize(model, checkpoint.quantization, seed=0, dtype=mx.bfloat16)

    def find_listening(self, options: EngineOptions, progress: Progress) -> ListeningCheckpoint:  # noqa: ARG002
        """See ``Source``."""
        progress("The listening model gets random weights, as large as those of Kyutai's smaller one.")
        tokenizer = self._folder / LISTENING_TOKENIZER_NAME
        write_tiny_tokenizer(tokenizer, 100)
        return ListeningCheckpoint(
            self._folder, tokenizer, stt_1b(), None, from_pytorch=False, audio_delay_s=0.5, silence_s=0.0
        )

    def load_listening(self, checkpoint: ListeningCheckpoint) -> Lm:
        """See ``Source``."""
        return randomize(build(checkpoint.config, None), seed=0, dtype=mx.bfloat16)
