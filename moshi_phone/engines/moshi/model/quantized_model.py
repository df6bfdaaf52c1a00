"""The language model's modules, quantized like the weights that will be loaded into them.

A layer that is quantized otherwise than its file would read packed numbers as weights, or not load at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlx import nn

from moshi_phone.vendor.moshi_mlx.models.lm import Lm, LmConfig


@dataclass(frozen=True)
class Quantization:
    """Quantization of the linear layers and embeddings.

    Attributes:
        bits: bits for each weight.
        group_size: number of weights that share a scale.
        depformer: the depformer's quantization; None if it is the same.
    """

    bits: int
    group_size: int
    depformer: Quantization | None = None

    def of(self, name: str) -> Quantization:
        """Return the quantization of the layer or tensor of this name."""
        return self.depformer if self.depformer is not None and name.startswith("depformer.") else self


QUANTIZATIONS = {4: Quantization(4, 32), 8: Quantization(8, 64)}
"""By bits, with the group sizes of the files that Kyutai publishes."""


def quantization_named(packing: str) -> Quantization | None:
    """Parse a value of ``--quantize``: ``4``, ``8``, ``4-8`` (depformer in 8), or ``none``."""
    if packing == "none":
        return None
    bits, _, depformer_bits = packing.partition("-")
    main = QUANTIZATIONS[int(bits)]
    return replace(main, depformer=QUANTIZATIONS[int(depformer_bits)]) if depformer_bits else main


def build(config: LmConfig, quantization: Quantization | None) -> Lm:
    """Build the model lazily: nothing is computed or allocated until evaluation.

    Args:
        config: sizes of the model, as in its ``config.json``.
        quantization: of the weights that will be loaded; None for weights that are not packed.
    """
    model = Lm(config)
    if quantization is not None:

        def packing(name: str, layer: object) -> bool | dict[str, int]:
            own = quantization.of(name)
            return hasattr(layer, "to_quantized") and {"bits": own.bits, "group_size": own.group_size}

        nn.quantize(model, class_predicate=packing)  # type: ignore[attr-defined] # its stubs forget it
    model.transformer_cache = []  # sessions bring their own
    model.depformer_cache = []
    return model
