"""Where ``moshi_mlx``'s tensors are in a file that Kyutai's or NVIDIA's PyTorch code wrote.

Both have the same values. PyTorch's file names them otherwise, and has a norm's gains as ``[1, 1, dim]``. The
attention weights of the depformer's slices are stacked in one tensor, or, since version 0.2.4 of ``moshi``,
beside each other (``in_projs.N.weight``): what every fine-tune of today looks like.
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


def origins(
    target: Iterable[str], found: Container[str], schedule: Sequence[int] | None = None
) -> dict[str, Origin]:
    """Say for each of ``moshi_mlx``'s tensors, by name, where it is in PyTorch's file.

    Args:
        target: names of ``moshi_mlx``'s.
        found: the names in the file, which tell by which version of ``moshi`` it was written.
        schedule: by slice of the depformer, which of the file's weights it has; None for each its own.
    """
    return {name: _split(_origin(name, schedule), found) for name in target}


def expected_shapes(target: Shapes, origin_of: dict[str, Origin], parts: int) -> Shapes:
    """Give what PyTorch's file must hold for these tensors of ``moshi_mlx``'s, by PyTorch's names.

    Args:
        target: shapes of ``moshi_mlx``'s.
        origin_of: where they are, as ``origins`` has it.
        parts: how many slices are stacked in one tensor.
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
    """Whether a tensor of PyTorch's belongs to a slice of the depformer beyond the first so many."""
    if (found := _OF_SLICE.match(name)) is None:
        return False
    index = next(int(group) for group in found.groups() if group is not None)
    return index + name.startswith("depformer_emb.") >= slices


def _split(origin: Origin, found: Container[str]) -> Origin:
    """Since version 0.2.4 ``moshi`` saves the attention weights of each slice by themselves."""
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
    if name == "emb.weight":  # a slice reads what the one before it has written, and the first one the text
        return Origin("depformer_text_emb.weight" if index == 0 else f"depformer_emb.{index - 1}.weight")
    if name.startswith("linear_in."):
        return Origin(name.replace("linear_in", f"depformer_in.{weights}", 1))
    if name.startswith("linear_out."):
        return Origin(name.replace("linear_out", f"linears.{index}", 1))
    name = name.replace("transformer.", "depformer.", 1)
    if ".gating." in name:
        return Origin(name.replace(".gating.", f".gating.{weights}.", 1))
    origin = _renamed(name)
    # One norm serves all slices; of the attention each has its own part.
    return origin if origin.is_norm else Origin(origin.name, weights)


def _renamed(name: str) -> Origin:
    if "norm" in name:
        return Origin(name.removesuffix("weight") + "alpha", is_norm=True)
    return Origin(name.replace(".in_proj.weight", ".in_proj_weight"))
