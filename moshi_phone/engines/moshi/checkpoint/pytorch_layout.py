"""Where ``moshi_mlx``'s tensors are in a file that Kyutai's or NVIDIA's PyTorch code wrote.

Both have the same values. PyTorch's file names them otherwise, has the attention weights of all the
depformer's slices stacked in one tensor, and a norm's gains as ``[1, 1, dim]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from moshi_phone.engines.moshi.checkpoint.tensor_shapes import Shapes

_SLICE = re.compile(r"depformer\.slices\.(\d+)\.(.*)")


@dataclass(frozen=True)
class Origin:
    """Where a tensor comes from.

    Attributes:
        name: in PyTorch's file.
        part: which part of it, of ``parts`` along the first axis; None for all of it.
        is_norm: whether it is ``[1, 1, dim]``.
    """

    name: str
    part: int | None = None
    is_norm: bool = False


def is_pytorch_layout(names: Iterable[str]) -> bool:
    """Whether these are the names of PyTorch's file."""
    return "out_norm.alpha" in names


def slices_in(names: Iterable[str]) -> int:
    """How many slices the depformer of PyTorch's file has."""
    return sum(bool(re.fullmatch(r"linears\.\d+\.weight", name)) for name in names)


def origins(target: Iterable[str]) -> dict[str, Origin]:
    """Say for each of ``moshi_mlx``'s tensors, by name, where it is in PyTorch's file."""
    return {name: _origin(name) for name in target}


def expected_shapes(target: Shapes, slices: int) -> Shapes:
    """Give what PyTorch's file must hold for these tensors of ``moshi_mlx``'s, by PyTorch's names."""
    shapes: Shapes = {}
    for name, shape in target.items():
        origin = _origin(name)
        if origin.is_norm:
            shape = (1, 1, *shape)  # noqa: PLW2901
        if origin.part is not None:
            shape = (slices * shape[0], *shape[1:])  # noqa: PLW2901
        shapes[origin.name] = shape
    return shapes


def _origin(name: str) -> Origin:
    if found := _SLICE.fullmatch(name):
        return _origin_in_slice(int(found[1]), found[2])
    if name.startswith("audio_embs."):
        return Origin(name.replace("audio_embs.", "emb.", 1))
    return _renamed(name)


def _origin_in_slice(index: int, name: str) -> Origin:
    if name == "emb.weight":  # a slice reads what the one before it has written, and the first one the text
        return Origin("depformer_text_emb.weight" if index == 0 else f"depformer_emb.{index - 1}.weight")
    if name.startswith("linear_in."):
        return Origin(name.replace("linear_in", f"depformer_in.{index}", 1))
    if name.startswith("linear_out."):
        return Origin(name.replace("linear_out", f"linears.{index}", 1))
    name = name.replace("transformer.", "depformer.", 1)
    if ".gating." in name:
        return Origin(name.replace(".gating.", f".gating.{index}.", 1))
    origin = _renamed(name)
    # One norm serves all slices; of the attention each has its own part.
    return origin if origin.is_norm else Origin(origin.name, index)


def _renamed(name: str) -> Origin:
    if "norm" in name:
        return Origin(name.removesuffix("weight") + "alpha", is_norm=True)
    return Origin(name.replace(".in_proj.weight", ".in_proj_weight"))
