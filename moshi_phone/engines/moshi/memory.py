"""Moshi's memory need, computed before loading, and a limit on mlx's cache."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx
from mlx.utils import tree_flatten

from moshi_phone.engines import nvidia
from moshi_phone.engines.moshi.codec.codec_pool import HANDOVER_FRAMES, spares_for
from moshi_phone.engines.moshi.model.quantized_model import Quantization, build
from moshi_phone.engines.real_time_benchmark import MAX_CALLS
from moshi_phone.runtime.machine_memory import machine_memory_bytes
from moshi_phone.vendor.moshi_mlx.models.lm import LmConfig

MB = 1_000_000
CODEC_BYTES = 530 * MB  # measured
CODEC_FRAME_BYTES = 65_536  # a codec's state of each frame, until its handover
HANDOVER_SLACK_FRAMES = 250  # until a spare has caught up
PROGRAM_BYTES = 300 * MB
CACHE_LIMIT_BYTES = 256 * MB  # freed arrays that mlx keeps for later; a step needs a tenth of it
TAKE_LESS = "use fewer --calls or --quantize 4, or close other programs"
VALUE_BYTES = 2  # bfloat16


@dataclass(frozen=True)
class MemoryNeed:
    """The memory need of the options.

    Attributes:
        accelerator_bytes: weights, and each call's KV cache.
        main_bytes: codecs and the program.
    """

    accelerator_bytes: int
    main_bytes: int

    def __add__(self, more: MemoryNeed) -> MemoryNeed:
        """Add another model's need."""
        return MemoryNeed(self.accelerator_bytes + more.accelerator_bytes, self.main_bytes + more.main_bytes)


@dataclass(frozen=True)
class MemoryVerdict:
    """The comparison of a need with the available memory.

    Attributes:
        fits: whether the memory suffices.
        text: need and available memory, without a full stop.
    """

    fits: bool
    text: str


def model_need(config: LmConfig, quantization: Quantization | None, calls: int) -> MemoryNeed:
    """Compute a model's need, with the KV caches of a number of calls."""
    arrays: dict[str, mx.array] = dict(tree_flatten(build(config, quantization).parameters()))
    weights_bytes = sum(
        # Packed weights are uint32. All others are float32 in this layout, but bfloat16 in the file.
        array.nbytes if array.dtype == mx.uint32 else VALUE_BYTES * array.size
        for array in arrays.values()
    )
    sizes = config.transformer
    ring_bytes = 2 * VALUE_BYTES * sizes.num_layers * sizes.context * sizes.d_model
    return MemoryNeed(weights_bytes + calls * ring_bytes, 0)


def program_need(calls: int, *, listening: bool) -> MemoryNeed:
    """Compute the program's need, with the codecs of a number of calls."""
    # With --listen, encoders and decoders are two pools, each with its own spares.
    spares = 2 * spares_for(calls) if listening else spares_for(2 * calls)
    kept_bytes = (2 * calls + spares) * (HANDOVER_FRAMES + HANDOVER_SLACK_FRAMES) * CODEC_FRAME_BYTES
    return MemoryNeed(0, PROGRAM_BYTES + (2 * calls + spares) * CODEC_BYTES + kept_bytes)


def calls_that_fit(config: LmConfig, quantization: Quantization | None) -> int:
    """Return how many calls fit in this machine's memory, up to ``MAX_CALLS``; 0 if not even one fits.

    Args:
        config: of the model.
        quantization: of its weights.
    """
    # Two layouts are enough: a call's share is the same for each.
    weights, one = (model_need(config, quantization, calls) for calls in (0, 1))
    ring_bytes = one.accelerator_bytes - weights.accelerator_bytes
    machine_bytes, card_bytes = _machine()
    for calls in range(1, MAX_CALLS + 1):
        need = MemoryNeed(weights.accelerator_bytes + calls * ring_bytes, 0)
        if not weigh(need + program_need(calls, listening=False), machine_bytes, card_bytes).fits:
            return calls - 1
    return MAX_CALLS


def weigh(need: MemoryNeed, machine_bytes: int, card_bytes: int | None) -> MemoryVerdict:
    """Compare a need with the available memory.

    Args:
        need: of the options.
        machine_bytes: size of main memory.
        card_bytes: size of the accelerator's memory; None if it shares main memory.
    """
    if card_bytes is None:
        total_bytes = need.accelerator_bytes + need.main_bytes
        return MemoryVerdict(
            total_bytes <= machine_bytes, f"{_gb(total_bytes)} of the machine's {_gb(machine_bytes)} GB"
        )
    return MemoryVerdict(
        need.accelerator_bytes <= card_bytes and need.main_bytes <= machine_bytes,
        f"{_gb(need.accelerator_bytes)} of the GPU's {_gb(card_bytes)} GB, "
        f"and {_gb(need.main_bytes)} of the machine's {_gb(machine_bytes)} GB",
    )


def weigh_here(need: MemoryNeed) -> MemoryVerdict:
    """Compare a need with this machine's memory; queries the driver of an NVIDIA GPU."""
    return weigh(need, *_machine())


def _machine() -> tuple[int, int | None]:
    uses_gpu = mx.default_device().type == mx.DeviceType.gpu and not mx.metal.is_available()
    return machine_memory_bytes(), nvidia.gpu_memory_bytes() if uses_gpu else None


def limit_cache() -> None:
    """Limit mlx's cache of freed arrays; by default it may take all of the accelerator's memory."""
    before_bytes = mx.set_cache_limit(CACHE_LIMIT_BYTES)
    # Keep a lower limit from the user's environment.
    if before_bytes < CACHE_LIMIT_BYTES:
        mx.set_cache_limit(before_bytes)


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f}"
