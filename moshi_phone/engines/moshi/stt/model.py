"""The listening model in memory, and the creation of a call's transcription worker."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import cast

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from sentencepiece import SentencePieceProcessor

from moshi_phone.audio.formats import FRAME_MS
from moshi_phone.audio.silence import SILENT_FRAME
from moshi_phone.engines.moshi.checkpoint.checkpoint import load_tokenizer
from moshi_phone.engines.moshi.checkpoint.pytorch_layout import origins
from moshi_phone.engines.moshi.codec.codec import LISTENING_CODEBOOKS
from moshi_phone.engines.moshi.codec.codec_pool import MimiPool
from moshi_phone.engines.moshi.codec.stream_codecs import Encoder
from moshi_phone.engines.moshi.model.detokenizer import Detokenizer
from moshi_phone.engines.moshi.model.evaluate import evaluate, loading
from moshi_phone.engines.moshi.model.quantized_model import build
from moshi_phone.engines.moshi.model.token_history import Tokens
from moshi_phone.engines.moshi.stt.checkpoint import ListeningCheckpoint
from moshi_phone.engines.moshi.stt.session import ListeningSession, transcribe_together
from moshi_phone.engines.moshi.stt.worker import (
    DoInSpareTime,
    ListeningBatch,
    TimedTranscript,
    TranscriptionWorker,
    listening_batch,
)
from moshi_phone.vendor.moshi_mlx.models.lm import Lm

LAST_WORD_S = 1.0  # silence after the delay, as in Kyutai's runner, for the last word's remaining pieces
WARM_UP_CONTEXT = 16  # positions; a full-size cache would be wasted


@dataclass(frozen=True)
class ListeningModel:
    """Shared state of all calls' transcription.

    Attributes:
        model: the evaluated model.
        tokenizer: its text tokenizer.
        audio_delay_s: delay of the text after the audio.
        steps: steps all waiting calls in one batch.
        silence: frames of uint32 ``[32]`` that it reads before the caller's audio.
        final_silence: frames of uint32 ``[32]`` after the caller's audio, in which it writes the last words.
    """

    model: Lm
    tokenizer: SentencePieceProcessor
    audio_delay_s: float
    steps: ListeningBatch
    silence: tuple[Tokens, ...] = ()
    final_silence: tuple[Tokens, ...] = ()

    def listener(self, do_in_spare_time: DoInSpareTime) -> TranscriptionWorker:
        """Create a call's transcription worker."""
        words = TimedTranscript(Detokenizer(self.tokenizer), self.audio_delay_s)
        open_session = partial(ListeningSession, self.model)
        return TranscriptionWorker(
            open_session, words, do_in_spare_time, self.steps, self.silence, final_silence=self.final_silence
        )


def prepare(
    checkpoint: ListeningCheckpoint, model: Lm, encoders: MimiPool, max_rows: int = 1
) -> ListeningModel:
    """Prepare a loaded model for calls, and warm it up. Runs in the model's thread.

    Args:
        checkpoint: the model's files.
        model: the evaluated model.
        encoders: codecs with 32 codebooks.
        max_rows: maximum number of calls in one step.
    """
    # Each number of rows compiles on its first step. Compile now, so that no caller waits for it.
    sessions = [ListeningSession(model, context=WARM_UP_CONTEXT) for _ in range(max_rows)]
    for rows in range(1, max_rows + 1):
        transcribe_together(sessions[:rows], [np.zeros(LISTENING_CODEBOOKS, np.uint32)] * rows)
    del sessions
    encoder = Encoder(encoders)
    try:
        frames = round(checkpoint.silence_s * 1000 / FRAME_MS)
        silence = tuple(encoder.encode(SILENT_FRAME) for _ in range(frames))
        final_frames = math.ceil((checkpoint.audio_delay_s + LAST_WORD_S) * 1000 / FRAME_MS)
        final_silence = tuple(encoder.encode(SILENT_FRAME) for _ in range(final_frames))
    finally:
        encoder.release()
    return ListeningModel(
        model,
        load_tokenizer(checkpoint.tokenizer),
        checkpoint.audio_delay_s,
        listening_batch(max_rows),
        silence,
        final_silence,
    )


def load(checkpoint: ListeningCheckpoint) -> Lm:
    """Load the model into memory. Runs in the model's thread.

    Raises:
        EngineUnavailable: when the weights cannot be read or do not fit into memory.
    """
    with loading(checkpoint.weights, "leave out --listen"):
        model = build(checkpoint.config, checkpoint.quantization)
        tensors = cast("dict[str, mx.array]", mx.load(str(checkpoint.weights)))
        if checkpoint.from_pytorch:
            names = dict(tree_flatten(model.parameters()))
            tensors = {
                name: tensors[origin.name][0, 0] if origin.is_norm else tensors[origin.name]
                for name, origin in origins(names, tensors).items()
            }
        model.load_weights(list(tensors.items()), strict=True)
        evaluate(checkpoint.weights, model)
    return model
