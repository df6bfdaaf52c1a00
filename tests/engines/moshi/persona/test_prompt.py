"""PersonaPlex prompted as by NVIDIA's own code: the same tokens afterwards.

``data/personaplex_golden.npz`` was recorded with NVIDIA/personaplex at 3428dfd and torch 2.13.0 on a CPU, in
float32: its ``LMModel`` with the weights of ``tests/support/tiny_personaplex.py`` (seed 5, 16 slices), its
``LMGen`` with ``use_sampling=False, audio_silence_frame_cnt=6``, ``step_system_prompts``, then 200 random
frames of a caller. NVIDIA's ring hides its oldest slot once it is full, so it was given one more than the
context named here. ``data/personaplex_voice.pt`` was saved by the same ``LMGen`` from ``voice_codes``.
"""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from moshi_phone.commands.random_model import randomize
from moshi_phone.engines.moshi.model.language_model import LanguageSession, step_together
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS, Quantization, build
from moshi_phone.engines.moshi.model.sampling import GREEDY, MoshiSampling
from moshi_phone.engines.moshi.persona.prompt import PromptUnfit, compose, prefill, prompted, prompted_session
from moshi_phone.engines.moshi.persona.voice import EmbeddedVoice, SpokenVoice, VoiceUnfit, read_voice
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, LmConfig
from tests.support.tiny_personaplex import personaplex_config, write_personaplex

DATA = Path(__file__).parents[1] / "data"
VOICE = DATA / "personaplex_voice.pt"
GOLDEN = np.load(DATA / "personaplex_golden.npz")
CALLER = GOLDEN["caller"].astype(np.uint32)
PROMPT = GOLDEN["prompt_tokens"].tolist()
CONTEXTS = (3000, 64)

Said = NDArray[np.int64]


def load(weights: Path, *, slices: int = 8, **config: int) -> Lm:
    """Build the model and load NVIDIA's file as ``moshi_mlx`` itself does."""
    sizes = LmConfig.from_config_dict(personaplex_config(**config) | {"dep_q": slices})
    sizes.depformer.weights_per_step_schedule = list(range(16))  # the number in the file
    model = build(sizes, None)
    model.load_pytorch_weights(str(weights), sizes, strict=True)
    mx.eval(model.parameters())
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_personaplex(tmp_path_factory.mktemp("personaplex"), seed=5)


@pytest.fixture(scope="module")
def models(checkpoint: Path) -> dict[int, Lm]:
    """Models by context; 8 of the 16 slices."""
    return {context: load(checkpoint / "model.safetensors", context=context) for context in CONTEXTS}


def talk(session: LanguageSession, frames: int = len(CALLER)) -> Said:
    """Feed a session the golden caller; return text and 8 codebooks of every position, ``[frames, 9]``."""
    rows = []
    for frame in CALLER[:frames]:
        step = session.step(frame)
        assert step.audio_tokens is not None
        rows.append([step.text_token, *step.audio_tokens.tolist()])
    return np.array(rows)


def same_tokens(said: Said, theirs: Said) -> bool:
    """Compare the tokens of equal times.

    NVIDIA's call k gives text and audio of one time, that before the caller's frame k. Our step k gives the
    audio of the caller's frame k, and the text of the position that completed it, one later.
    """
    same_audio = (said[:-1, 1:] == theirs[1:, 1:]).all()
    return bool(same_audio and (said[:-2, 0] == theirs[2:, 0]).all())


@pytest.mark.parametrize(("kind", "context"), [("voice", 64), ("voice", 3000), ("text", 64)])
def test_gives_nvidia_s_tokens_after_the_same_prompt(models: dict[int, Lm], context: int, kind: str) -> None:
    voice = VOICE if kind == "voice" else None
    session = prompted_session(models[context], GREEDY, 0, voice=voice, prompt_tokens=PROMPT)
    assert session.frames == 0
    said, theirs = talk(session), GOLDEN[f"{kind}_{context}"]
    assert session.frames == len(CALLER)
    assert same_tokens(said, theirs)
    assert len(set(said[:, 0].tolist())) > 20, "the weights should make it say many things"


@pytest.mark.cpu_bound
@pytest.mark.parametrize("context", CONTEXTS)
def test_gives_the_same_tokens_in_a_changing_batch(models: dict[int, Lm], context: int) -> None:
    model = models[context]
    session = prompted_session(model, GREEDY, 0, voice=VOICE, prompt_tokens=PROMPT)
    others: list[LanguageSession] = []
    rows, rng = [], np.random.default_rng(1)
    for number, frame in enumerate(CALLER):
        if number % 20 == 3:
            others = [*others, LanguageSession(model, MoshiSampling(), number)][-2:]
        talking = [other for other in others if (number + other.frames) % 9]  # a late frame now and then
        fed = [rng.integers(0, 2048, 8).astype(np.uint32) for _ in talking]
        step = step_together([*talking, session], [*fed, frame])[-1]
        assert step.audio_tokens is not None
        rows.append([step.text_token, *step.audio_tokens.tolist()])
    assert same_tokens(np.array(rows), GOLDEN[f"voice_{context}"])


@pytest.mark.cpu_bound
def test_prefilled_in_one_pass_in_slices_or_step_by_step_is_the_same(models: dict[int, Lm]) -> None:
    model = models[64]
    prompt = compose(model.cfg, read_voice(VOICE), PROMPT)
    at_once = prompted(model, prompt)
    for slice_positions in (1, 7, 16):
        reading = prefill(model, prompt)
        with pytest.raises(RuntimeError, match="expected no positions left, got 49"):
            reading.snapshot()
        while reading.positions_left:
            reading.advance(slice_positions)
        sliced = reading.snapshot()
        assert sliced.position == at_once.position == 49
        for one, other in zip(at_once.keys + at_once.values, sliced.keys + sliced.values, strict=True):
            assert np.abs(np.array(one) - np.array(other)).max() < 1e-4
        said = talk(LanguageSession(model, GREEDY, 0, start=sliced))
        assert same_tokens(said, GOLDEN["voice_64"])


@pytest.mark.cpu_bound
def test_a_recorded_voice_equals_nvidia_s(models: dict[int, Lm]) -> None:
    voice = SpokenVoice(GOLDEN["voice_codes"].astype(np.uint32))
    assert voice.frames == read_voice(VOICE).frames == 21
    start = prompted(models[3000], compose(models[3000].cfg, voice, PROMPT))
    assert same_tokens(talk(LanguageSession(models[3000], GREEDY, 0, start=start)), GOLDEN["wav_3000"])


def test_without_a_persona_nothing_is_prompted(models: dict[int, Lm]) -> None:
    prompt = compose(models[3000].cfg, None, [])
    assert prompt.positions == 11
    assert not (talk(LanguageSession(models[3000], GREEDY, 0), 20) == GOLDEN["text_3000"][1:21]).all()


def test_eight_depformer_slices_give_the_bits_of_sixteen(checkpoint: Path) -> None:
    """The golden tokens are those of 16 slices, so this is about the last bit."""
    weights = checkpoint / "model.safetensors"
    logits = []
    for slices in (8, 16):
        model = load(weights, slices=slices)
        cache = model.depformer.slices[0].transformer.make_cache()
        hidden = mx.random.normal((1, 1, 64), key=mx.random.key(1))
        rows, token = [], mx.array([[7]])
        for part in model.depformer.slices:
            state = part.transformer(part.linear_in(hidden) + part.emb(token), cache=cache)
            rows.append(part.linear_out(state))
            token = mx.argmax(rows[-1], axis=-1).astype(mx.int32)
        logits.append([np.array(row).tobytes() for row in rows])
    assert len(logits[1]) == 16
    assert logits[0] == logits[1][:8]


# Snapshots.


@pytest.mark.cpu_bound
def test_calls_from_one_snapshot_are_independent(models: dict[int, Lm]) -> None:
    model = models[64]
    start = prompted(model, compose(model.cfg, read_voice(VOICE), PROMPT))
    before = [np.array(array).tobytes() for array in start.keys + start.values]
    first = LanguageSession(model, GREEDY, 0, start=start)
    other = LanguageSession(model, GREEDY, 0, start=start)
    for number, frame in enumerate(CALLER):
        heard = frame if number < 100 else (frame + 1) % 2048
        other.step(heard[::-1].copy())  # another caller, on the same snapshot, at the same time
        step = first.step(frame)
        assert step.audio_tokens is not None
        if number < len(CALLER) - 1:
            assert step.audio_tokens.tolist() == GOLDEN["voice_64"][number + 1, 1:].tolist()
    assert [np.array(array).tobytes() for array in start.keys + start.values] == before
    assert same_tokens(talk(LanguageSession(model, GREEDY, 0, start=start)), GOLDEN["voice_64"])


@pytest.mark.cpu_bound
def test_two_personas_at_once(models: dict[int, Lm]) -> None:
    model = models[3000]
    starts = [prompted(model, compose(model.cfg, voice, PROMPT)) for voice in (read_voice(VOICE), None)]
    sessions = [LanguageSession(model, GREEDY, 0, start=start) for start in starts]
    said = [[], []]  # type: list[list[list[int]]]
    for frame in CALLER:
        for session, rows in zip(sessions, said, strict=True):
            step = session.step(frame)
            assert step.audio_tokens is not None
            rows.append([step.text_token, *step.audio_tokens.tolist()])
    assert same_tokens(np.array(said[0]), GOLDEN["voice_3000"])
    assert same_tokens(np.array(said[1]), GOLDEN["text_3000"])


def test_a_snapshot_s_size_follows_its_positions(models: dict[int, Lm]) -> None:
    start = prompted(models[3000], compose(models[3000].cfg, read_voice(VOICE), PROMPT))
    assert start.size_bytes == 2 * 2 * 49 * 64 * 4  # keys and values, layers, positions, dim, float32


# What does not fit.


def test_a_prompt_longer_than_the_context_is_refused(models: dict[int, Lm]) -> None:
    session = prompted_session(models[64], GREEDY, 0, voice=VOICE, prompt_tokens=[5] * 32)
    assert talk(session, 5).shape == (5, 9), "64 positions fit"
    with pytest.raises(
        PromptUnfit,
        match=r"65 frames \(21 of voice, 33 of text\), and the model remembers 64;",
    ):
        prompted_session(models[64], GREEDY, 0, voice=VOICE, prompt_tokens=[5] * 33)


def test_unknown_tokens_are_refused(models: dict[int, Lm]) -> None:
    for token in (-1, 101):
        with pytest.raises(PromptUnfit, match=f"Expected text tokens below 101, got {token}"):
            prompted_session(models[64], GREEDY, 0, voice=None, prompt_tokens=[5, token])


def test_another_model_s_voice_is_refused(models: dict[int, Lm], tmp_path: Path) -> None:
    other = load(write_personaplex(tmp_path, seed=6) / "model.safetensors")
    with pytest.raises(
        VoiceUnfit, match=r"made with another model: .* \(expected at most 2% off, got 1..%\)"
    ):
        prompted_session(other, GREEDY, 0, voice=VOICE, prompt_tokens=PROMPT)
    voice = read_voice(VOICE)
    for wrong, complaint in (
        (EmbeddedVoice(voice.embeddings[:, :32], voice.cache), "expected embeddings of 64"),
        (EmbeddedVoice(voice.embeddings, voice.cache[:9]), r"a cache \[17, 4\], got 64 and \[9, 4\]"),
        (EmbeddedVoice(voice.embeddings, voice.cache - 9999), "ends with tokens"),
        (SpokenVoice(np.zeros((3, 7), np.uint32)), r"tokens \[frames, 8\], got \[3, 7\]"),
        (SpokenVoice(np.full((3, 8), 2048, np.uint32)), "audio tokens below 2048, got 2048"),
    ):
        with pytest.raises(VoiceUnfit, match=complaint):
            compose(models[64].cfg, wrong, PROMPT)


def test_a_seed_gives_the_same_call_from_a_snapshot(models: dict[int, Lm]) -> None:
    start = prompted(models[64], compose(models[64].cfg, read_voice(VOICE), PROMPT))
    said = [talk(LanguageSession(models[64], MoshiSampling(), seed, start=start), 30) for seed in (1, 1, 2)]
    assert (said[0] == said[1]).all()
    assert (said[0] != said[2]).any()


@pytest.mark.parametrize(
    ("quantization", "dtype"),
    [
        pytest.param(QUANTIZATIONS[4], mx.float32, id="q4", marks=pytest.mark.cpu_bound),
        pytest.param(Quantization(8, 32), mx.float32, id="q8", marks=pytest.mark.cpu_bound),
        pytest.param(None, mx.bfloat16, id="bfloat16", marks=pytest.mark.cpu_bound),
    ],
)
def test_quantized_or_in_bfloat16_most_tokens_are_the_same(
    quantization: Quantization | None, dtype: mx.Dtype
) -> None:
    """On this CPU all of them; elsewhere one pass may round differently from steps."""
    config = LmConfig.from_config_dict(personaplex_config(dim=128, layers=1) | {"dep_q": 8})
    model = randomize(build(config, quantization), quantization, seed=0, dtype=dtype)
    voice = SpokenVoice(GOLDEN["voice_codes"].astype(np.uint32))
    prompt = compose(model.cfg, voice, PROMPT)
    stepped = prefill(model, prompt)
    while stepped.positions_left:
        stepped.advance(1)
    said = [
        talk(LanguageSession(model, GREEDY, 0, start=start), 30)
        for start in (prompted(model, prompt), stepped.snapshot())
    ]
    assert np.mean(said[0] == said[1]) > 0.9
