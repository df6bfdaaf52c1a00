"""Mapping of ``moshi_mlx``'s tensors to those in files of Kyutai's or NVIDIA's PyTorch code.

The values are the same. PyTorch's files use other names, and store a norm's gains as ``[1, 1, dim]``. The
attention weights of the depformer's slices are stacked in one tensor, or, since ``moshi`` 0.2.4, separate
(``in_projs.N.weight``), as in every current fine-tune.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from moshi_phone.engines.moshi.checkpoint.tensor_shapes import Shapes

_SLICE = re.compile(r"depformer\.slices\.(\d+)\.(.*)")

_OF_SLICE = re.compile(
    r"(?:linears|depformer_in|depformer_emb)\.(\d+)\."
    r"|depformer\.layers\.\d+\.(?:gating|self_attn\.(?:in|out)_projs)\.(\d+)\."
)
_SPLIT = {
    "self_attn.in_proj_weight": "self_attn.in_projs.{}.weight",
    "self_attn.out_proj.weight": "self_attn.out_projs.{}.weight",
}


@dataclass(frozen=True)
class Origin:
    """The source of a tensor.

    Attributes:
        name: its name in PyTorch's file.
        part: index of its part along the first axis; None for the whole tensor.
        is_norm: whether it is a norm's, ``[1, 1, dim]``.
    """

    name: str
    part: int | None = None
    is_norm: bool = False


def is_pytorch_layout(names: Iterable[str]) -> bool:
    """Whether these tensor names are PyTorch's."""
    return "out_norm.alpha" in names


def slices_in(names: Iterable[str]) -> int:
    """Number of slices the depformer of PyTorch's file has."""
    return sum(bool(re.fullmatch(r"linears\.\d+\.weight", name)) for name in names)


def origins(
    target: Iterable[str], found: Container[str], schedule: Sequence[int] | None = None
) -> dict[str, Origin]:
    """Return the source of each of ``moshi_mlx``'s tensors, by name.

    Args:
        target: ``moshi_mlx``'s names.
        found: the names in the file; they show which version of ``moshi`` wrote it.
        schedule: the index of each depformer slice's weights in the file; None if each slice has its own.
    """
    return {name: _split(_origin(name, schedule), found) for name in target}


def expected_shapes(target: Shapes, origin_of: dict[str, Origin], parts: int) -> Shapes:
    """Return the shapes that PyTorch's file must have, by PyTorch's names.

    Args:
        target: the shapes of ``moshi_mlx``'s tensors.
        origin_of: their sources, from ``origins``.
        parts: number of slices stacked in one tensor.
    """
    shapes: Shapes = {}
    for name, shape in target.items():
        origin = origin_of[name]
        if origin.is_norm:
            shape = (1, 1, *shape)  # noqa: PLW2901
        if origin.part is not None:
            shape = (parts * shape[0], *shape[1:])  # noqa: PLW2901
        shapes[origin.name] = shape
    return shapes


def is_of_other_slice(name: str, slices: int) -> bool:
    """Whether a PyTorch tensor belongs to a depformer slice at or beyond index ``slices``."""
    if (found := _OF_SLICE.match(name)) is None:
        return False
    index = next(int(group) for group in found.groups() if group is not None)
    # Embedding N serves slice N + 1: slice 0 embeds the text token.
    return index + name.startswith("depformer_emb.") >= slices


def _split(origin: Origin, found: Container[str]) -> Origin:
    """Return the separate tensor of a slice's attention weights, as ``moshi`` saves it since 0.2.4."""
    for stacked, split in _SPLIT.items():
        if origin.name.endswith(stacked):
            name = origin.name.removesuffix(stacked) + split.format(origin.part or 0)
            if name in found:
                return Origin(name)
    return origin


def _origin(name: str, schedule: Sequence[int] | None) -> Origin:
    if found := _SLICE.fullmatch(name):
        index = int(found[1])
        return _origin_in_slice(index, index if schedule is None else schedule[index], found[2])
    if name.startswith("audio_embs."):
        return Origin(name.replace("audio_embs.", "emb.", 1))
    return _renamed(name)


def _origin_in_slice(index: int, weights: int, name: str) -> Origin:
    if name == "emb.weight":  # a slice embeds the previous slice's token, the first one the text token
        return Origin("depformer_text_emb.weight" if index == 0 else f"depformer_emb.{index - 1}.weight")
    if name.startswith("linear_in."):
        return Origin(name.replace("linear_in", f"depformer_in.{weights}", 1))
    if name.startswith("linear_out."):
        return Origin(name.replace("linear_out", f"linears.{index}", 1))
    name = name.replace("transformer.", "depformer.", 1)
    if ".gating." in name:
        return Origin(name.replace(".gating.", f".gating.{weights}.", 1))
    origin = _renamed(name)
    # All slices share the norms; each has its own part of the attention weights.
    return origin if origin.is_norm else Origin(origin.name, weights)


def _renamed(name: str) -> Origin:
    if "norm" in name:
        return Origin(name.removesuffix("weight") + "alpha", is_norm=True)
    return Origin(name.replace(".in_proj.weight", ".in_proj_weight"))
