"""Loading of the language model, in the model's thread."""

from __future__ import annotations

from typing import Protocol, cast

import mlx.core as mx

from moshi_phone.engines.duplex import Progress
from moshi_phone.engines.moshi import find_files as weights
from moshi_phone.engines.moshi.checkpoint.checkpoint import Checkpoint, is_unneeded
from moshi_phone.engines.moshi.model.evaluate import evaluate, loading
from moshi_phone.engines.moshi.model.quantized_model import build
from moshi_phone.engines.moshi.persona.voices import Voices
from moshi_phone.engines.moshi.stt import model as listening_model
from moshi_phone.engines.moshi.stt.checkpoint import ListeningCheckpoint, find_listening
from moshi_phone.engines.options import EngineOptions
from moshi_phone.vendor.moshi_mlx.models.lm import Lm


class Source(Protocol):
    """The source of a model. All methods run in the model's thread."""

    def find(self, options: EngineOptions, progress: Progress) -> Checkpoint:
        """Return the files, checked.

        Raises:
            EngineUnavailable: with a sentence that names the file and the remedy.
        """

    def find_voices(self, options: EngineOptions, progress: Progress) -> Voices:
        """Return the voices of a model that takes personas.

        Raises:
            EngineUnavailable: with a sentence that names the remedy.
        """

    def load(self, checkpoint: Checkpoint, progress: Progress) -> Lm:
        """Load the model into memory.

        Raises:
            EngineUnavailable: when it cannot be read or does not fit into memory.
        """

    def find_listening(self, options: EngineOptions, progress: Progress) -> ListeningCheckpoint:
        """Return the listening model's files, checked.

        Raises:
            EngineUnavailable: with a sentence that names the file and the remedy.
        """

    def load_listening(self, checkpoint: ListeningCheckpoint) -> Lm:
        """Load the listening model into memory.

        Raises:
            EngineUnavailable: when it cannot be read or does not fit into memory.
        """


class Files:
    """Loads the files that the options select."""

    def find(self, options: EngineOptions, progress: Progress) -> Checkpoint:
        """See ``Source``."""
        return weights.find(options, progress)

    def find_voices(self, options: EngineOptions, progress: Progress) -> Voices:
        """See ``Source``."""
        return weights.voices(options, progress)

    def load(self, checkpoint: Checkpoint, progress: Progress) -> Lm:
        """See ``Source``. Reads all of it, so that no call has to wait for the disk."""
        with loading(checkpoint.weights, "take a smaller one with --quantize 4"):
            model = build(checkpoint.config, checkpoint.quantization)
            tensors = cast("dict[str, mx.array]", mx.load(str(checkpoint.weights)))
            wanted = [(name, tensor) for name, tensor in tensors.items() if not is_unneeded(name)]
            del tensors  # releases the unneeded ones before the rest is read
            model.load_weights(wanted, strict=True)
            del wanted  # the model alone may hold the arrays while they are evaluated
            evaluate(checkpoint.weights, model, progress)
        return model

    def find_listening(self, options: EngineOptions, progress: Progress) -> ListeningCheckpoint:
        """See ``Source``."""
        return find_listening(options, progress)

    def load_listening(self, checkpoint: ListeningCheckpoint) -> Lm:
        """See ``Source``."""
        return listening_model.load(checkpoint)
