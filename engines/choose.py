"""Which engine the options mean."""

from __future__ import annotations

from engines.duplex import DuplexEngine, EngineUnavailable
from engines.options import EngineOptions
from engines.parrot import ParrotEngine


def accelerator() -> str | None:
    """Name the accelerator that mlx would run on here, or None where it would run on the processor."""
    import mlx.core as mx  # noqa: PLC0415 - loading mlx takes a moment, and the parrot needs none of it

    if mx.metal.is_available():
        return "Metal"
    if mx.cuda.is_available():
        return "CUDA"
    return None


def choose_engine(options: EngineOptions) -> tuple[DuplexEngine, str]:
    """Make the engine that the options ask for, and say in one line which it is and how to have the other.

    Raises:
        EngineUnavailable: when the options ask for what is not there.
    """
    if options.engine == "parrot":
        return ParrotEngine(options.parrot_delay), "Engine: parrot, as asked."
    found = accelerator()
    if options.engine == "auto" and found is None:
        return ParrotEngine(options.parrot_delay), (
            "Engine: parrot, because mlx finds no accelerator here (Metal or CUDA); "
            "--engine moshi runs Moshi all the same, --engine parrot says that you meant it."
        )
    try:
        from engines.moshi.engine import MoshiEngine  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise EngineUnavailable(
            "The Moshi engine is not there yet; --engine parrot answers calls."
        ) from error
    where = f"on {found}" if found else "on the processor, which is too slow for a conversation"
    return MoshiEngine(options), f"Engine: moshi, {where}; --engine parrot answers without it."
