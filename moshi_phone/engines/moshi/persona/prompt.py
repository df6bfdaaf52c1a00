"""The prompt that the model reads before a call: a voice, then a persona's text.

The order follows PersonaPlex's training (``LMGen.step_system_prompts`` in NVIDIA's ``lm.py``): the voice;
half a second of silence; ``<system> … <system>``, one token for each frame; half a second of silence. Moshi's
tokens are forced throughout, and the caller is a steady tone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from moshi_phone.engines.duplex import EngineError
from moshi_phone.engines.moshi.model.detokenizer import PADDING_TOKEN
from moshi_phone.engines.moshi.model.embeddings import look_up
from moshi_phone.engines.moshi.model.language_model import LanguageSession, new_history
from moshi_phone.engines.moshi.model.prefill import Prefill
from moshi_phone.engines.moshi.model.ring_kv_cache import Snapshot
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.moshi.persona.voice import EmbeddedVoice, SpokenVoice, Voice, VoiceUnfit, read_voice
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, LmConfig

SILENCE_TOKENS = (948, 243, 1178, 546, 1736, 1030, 1978, 2008)  # Mimi's, of silence
TONE_TOKENS = (430, 1268, 381, 1611, 1095, 1495, 56, 472)  # Mimi's, of a sine of 440 Hz
SILENT_FRAMES = 6  # before and after the text
FIT_ERROR = 0.02  # relative error of an embedding in bfloat16


class PromptUnfit(EngineError):
    """The model does not support this prompt."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """The forced tokens and embeddings before a call.

    Attributes:
        tokens: int32 ``[1 + codebooks, frames]``, by time without delays: text, Moshi, caller.
        embeddings: float32 ``[positions, dim]``, inputs of the first positions, or None.
    """

    tokens: NDArray[np.int32]
    embeddings: NDArray[np.float32] | None = None

    @property
    def positions(self) -> int:
        """Length of the prompt in positions."""
        return int(self.tokens.shape[1])


def compose(config: LmConfig, voice: Voice | None, prompt_tokens: Sequence[int]) -> Prompt:
    """Lay out voice and text over time.

    Args:
        config: the model's sizes and delays.
        voice: the voice to speak with; None for the model's own.
        prompt_tokens: the text's tokens, including both ``<system>``.

    Raises:
        PromptUnfit: when the model lacks the tokens, or the prompt exceeds its context.
        VoiceUnfit: when the voice does not fit this model.
    """
    own, rows = config.generated_codebooks, 1 + config.audio_codebooks
    if (own, config.other_codebooks) != (len(SILENCE_TOKENS), len(TONE_TOKENS)):
        raise PromptUnfit(
            f"Prompts are for models with 8 codebooks each way, got {own} and {config.other_codebooks}."
        )
    if wrong := [token for token in prompt_tokens if not 0 <= token < config.text_in_vocab_size]:
        raise PromptUnfit(f"Expected text tokens below {config.text_in_vocab_size}, got {wrong[0]}.")
    voice_frames = voice.frames if voice is not None else 0
    text = [PADDING_TOKEN] * SILENT_FRAMES + list(prompt_tokens) + [PADDING_TOKEN] * SILENT_FRAMES
    frames = voice_frames + len(text)
    if frames - 1 > config.transformer.context:
        raise PromptUnfit(
            f"The prompt takes {frames - 1} frames ({voice_frames} of voice, {len(prompt_tokens)} of text), "
            f"and the model remembers {config.transformer.context}; shorten the persona."
        )
    tokens = np.empty((rows, frames), np.int32)
    tokens[0] = [PADDING_TOKEN] * voice_frames + text
    tokens[1 : 1 + own] = np.array(SILENCE_TOKENS)[:, None]
    tokens[1 + own :] = np.array(TONE_TOKENS)[:, None]
    embeddings = None
    if isinstance(voice, SpokenVoice):
        tokens[1 : 1 + own, :voice_frames] = _checked(voice, config).T
    elif voice is not None:
        tokens[:, :voice_frames] = _recent(voice, config)
        embeddings = voice.embeddings
    return Prompt(tokens[:, 1:], embeddings)  # the start tokens take the place of the first frame


def prefill(model: Lm, prompt: Prompt) -> Prefill:
    """Start the prefill of a prompt. Runs in the model's thread.

    Raises:
        VoiceUnfit: when the voice was made with another model.
    """
    config = model.cfg
    history = new_history(config)
    delays = np.array([0, *config.audio_delays])
    times = np.arange(prompt.positions)[:, None] - 1 - delays
    inputs = np.where(
        times >= 0, prompt.tokens[np.arange(len(delays)), np.maximum(times, 0)], history.inputs(0)
    ).astype(np.int32)
    if prompt.embeddings is not None:
        _check_start(model, inputs[0], prompt.embeddings[0])
    # The history's ring holds the last times only; keys and values cover the earlier ones.
    for time in range(max(prompt.positions - history.length + 1, 0), prompt.positions):
        history.put(time, prompt.tokens[:, time])
    return Prefill(model, inputs, prompt.embeddings, history)


def prompted(model: Lm, prompt: Prompt) -> Snapshot:
    """Read a prompt in one pass. Runs in the model's thread.

    Raises:
        VoiceUnfit: when the voice was made with another model.
    """
    reading = prefill(model, prompt)
    reading.advance(prompt.positions)
    return reading.snapshot()


def prompted_session(
    model: Lm, sampling: MoshiSampling, seed: int, *, voice: Path | None, prompt_tokens: Sequence[int]
) -> LanguageSession:
    """Begin a conversation after a prompt; the first ``step`` takes the caller's first frame.

    Args:
        model: PersonaPlex, or a similar model.
        sampling: temperatures and top-k of the draws.
        seed: of the draws.
        voice: one of NVIDIA's ``NAME.pt`` files, or None for the model's own voice.
        prompt_tokens: the ids of ``<system> TEXT <system>``.

    Raises:
        PromptUnfit, VoiceUnfit: with a sentence that gives the reason.
    """
    prompt = compose(model.cfg, read_voice(voice) if voice is not None else None, prompt_tokens)
    return LanguageSession(model, sampling, seed, start=prompted(model, prompt))


def _checked(voice: SpokenVoice, config: LmConfig) -> NDArray[np.uint32]:
    shape = voice.tokens.shape
    if shape[1:] != (config.generated_codebooks,) or shape[0] == 0:
        raise VoiceUnfit(
            f"Expected a voice of tokens [frames, {config.generated_codebooks}], got {list(shape)}."
        )
    if int(voice.tokens.max()) >= config.audio_padding_token:
        raise VoiceUnfit(
            f"Expected audio tokens below {config.audio_padding_token}, got {voice.tokens.max()}."
        )
    return voice.tokens


def _recent(voice: EmbeddedVoice, config: LmConfig) -> NDArray[np.int32]:
    """Return the history after a voice, int32 ``[1 + codebooks, frames]``.

    Only the last frames are known, and only those are read: earlier positions read embeddings.
    """
    delays = np.array([0, *config.audio_delays])
    # Length of the token ring of NVIDIA's generator, which wrote the file.
    slots = int(delays.max()) + 3
    if voice.cache.shape != (len(delays), slots) or voice.embeddings.shape[1] != config.transformer.d_model:
        raise VoiceUnfit(
            f"The voice is another model's: expected embeddings of {config.transformer.d_model} and a cache "
            f"[{len(delays)}, {slots}], got {voice.embeddings.shape[1]} and {list(voice.cache.shape)}."
        )
    limits = np.array([config.text_in_vocab_size, *[config.audio_vocab_size] * config.audio_codebooks])
    tokens = np.zeros((len(delays), voice.frames), np.int32)
    for back in range(min(int(delays.max()) + 1, voice.frames)):
        index = voice.frames - 1 - back
        column = voice.cache[np.arange(len(delays)), (index + delays) % slots]  # index = time + 1
        if ((column < 0) | (column >= limits)).any():
            raise VoiceUnfit("The voice is another model's: it ends with tokens that this one does not have.")
        tokens[:, index] = column
    return tokens


def _check_start(model: Lm, start: NDArray[np.int32], embedding: NDArray[np.float32]) -> None:
    """Compare the first embedding with the model's own: both consist of start tokens only."""
    tokens = [mx.array([[token]], mx.uint32) for token in start.tolist()]
    own = look_up(model.text_emb, tokens[0])
    for token, table in zip(tokens[1:], model.audio_embs, strict=True):
        own = own + look_up(table, token)
    expected = np.array(own.astype(mx.float32))[0, 0]
    bits = getattr(model.text_emb, "bits", None)
    # Rounding to 2^bits - 1 even steps gives an error of about 1.3 deviations for each step's width.
    tolerated = FIT_ERROR + (0 if bits is None else 3 / (2**bits - 1))
    error = float(np.linalg.norm(embedding - expected) / max(float(np.linalg.norm(expected)), 1e-9))
    if error > tolerated:
        raise VoiceUnfit(
            "The voice was made with another model: it begins with another embedding than this one's "
            f"(expected at most {tolerated:.0%} off, got {error:.0%})."
        )
