"""The layout of Kyutai's Mimi file: the name and shape of every tensor. The architecture is fixed."""

from __future__ import annotations

from collections.abc import Iterator

DIM = 512
FILTERS = 64
RATIOS = (8, 6, 5, 4)  # 24,000 Hz / 960 = 25 Hz; ``downsample`` halves it to 12.5 Hz
FEEDFORWARD = 2048
TRANSFORMER_LAYERS = 8
CODEBOOKS = 32
CODEBOOK_SIZE = 2048
CODEBOOK_DIM = 256


Shape = tuple[str, tuple[int, ...]]


def mimi_shapes(codebooks: int = CODEBOOKS) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor by name, for this many codebooks; all are float32."""
    return dict(
        [
            *_encoder(),
            *_decoder(),
            *_transformer("encoder_transformer"),
            *_transformer("decoder_transformer"),
            ("downsample.conv.conv.conv.weight", (DIM, DIM, 4)),
            ("upsample.convtr.convtr.convtr.weight", (DIM, 1, 4)),
            *_quantizer("rvq_first", 1),
            *_quantizer("rvq_rest", codebooks - 1),
        ]
    )


def _conv(name: str, out_dim: int, in_dim: int, kernel: int) -> Iterator[Shape]:
    yield f"{name}.conv.conv.weight", (out_dim, in_dim, kernel)
    yield f"{name}.conv.conv.bias", (out_dim,)


def _residual(name: str, dim: int) -> Iterator[Shape]:
    yield from _conv(f"{name}.block.1", dim // 2, dim, 3)
    yield from _conv(f"{name}.block.3", dim, dim // 2, 1)


def _encoder() -> Iterator[Shape]:
    yield from _conv("encoder.model.0", FILTERS, 1, 7)
    dim, place = FILTERS, 1
    for ratio in reversed(RATIOS):
        yield from _residual(f"encoder.model.{place}", dim)
        yield from _conv(f"encoder.model.{place + 2}", 2 * dim, dim, 2 * ratio)
        dim, place = 2 * dim, place + 3
    # Mimi's module list also counts its activations, which have no tensors: hence the gaps in the numbers.
    yield from _conv("encoder.model.14", DIM, dim, 3)


def _decoder() -> Iterator[Shape]:
    dim, place = FILTERS * 2 ** len(RATIOS), 2
    yield from _conv("decoder.model.0", dim, DIM, 7)
    for ratio in RATIOS:
        yield f"decoder.model.{place}.convtr.convtr.weight", (dim, dim // 2, 2 * ratio)
        yield f"decoder.model.{place}.convtr.convtr.bias", (dim // 2,)
        yield from _residual(f"decoder.model.{place + 1}", dim // 2)
        dim, place = dim // 2, place + 3
    yield from _conv("decoder.model.14", 1, dim, 3)


def _transformer(name: str) -> Iterator[Shape]:
    for layer in range(TRANSFORMER_LAYERS):
        at = f"{name}.transformer.layers.{layer}"
        yield f"{at}.self_attn.in_proj_weight", (3 * DIM, DIM)
        yield f"{at}.self_attn.out_proj.weight", (DIM, DIM)
        for norm in ("norm1", "norm2"):
            yield f"{at}.{norm}.weight", (DIM,)
            yield f"{at}.{norm}.bias", (DIM,)
        yield f"{at}.linear1.weight", (FEEDFORWARD, DIM)
        yield f"{at}.linear2.weight", (DIM, FEEDFORWARD)
        yield f"{at}.layer_scale_1.scale", (DIM,)
        yield f"{at}.layer_scale_2.scale", (DIM,)


def _quantizer(name: str, codebooks: int) -> Iterator[Shape]:
    yield f"quantizer.{name}.input_proj.weight", (CODEBOOK_DIM, DIM, 1)
    yield f"quantizer.{name}.output_proj.weight", (DIM, CODEBOOK_DIM, 1)
    for index in range(codebooks):
        at = f"quantizer.{name}.vq.layers.{index}._codebook"
        yield f"{at}._initialized", (1,)
        yield f"{at}.cluster_usage", (CODEBOOK_SIZE,)
        yield f"{at}.embedding_sum", (CODEBOOK_SIZE, CODEBOOK_DIM)
