"""Which pipeline a call runs: ``phone_call``, or a function of the user's own (``--pipeline``)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from loguru import logger
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameProcessor

from moshi_phone.runtime.plugin import PluginUnfit, load
from pipelines.call_parts import CallParts

OPTION = "--pipeline"

MakePipeline = Callable[[CallParts], Pipeline]


def choose_pipeline(spec: str) -> MakePipeline:
    """Load the function that assembles a call, as ``phone_call`` does.

    Args:
        spec: ``MODULE:FUNCTION``.

    Returns:
        The function, whose results are checked.

    Raises:
        PluginUnfit: when there is no such function, or it cannot be called with ``CallParts`` alone.
    """
    function = load(spec, OPTION)
    if not callable(function):
        raise PluginUnfit(f"{OPTION}: expected a function that returns a Pipeline, got {spec}.")
    if inspect.iscoroutinefunction(function):
        raise PluginUnfit(f"{OPTION}: expected def, got async def {spec}; it must return a Pipeline at once.")
    signature = inspect.signature(function)
    try:  # now, so that the mistake is found at the start and not with the first call
        signature.bind(CallParts)
    except TypeError as error:
        raise PluginUnfit(
            f"{OPTION}: expected a function of one argument, a CallParts (pipelines/call_parts.py), "
            f"got {spec}{signature}."
        ) from error
    has_warned = False

    def make(parts: CallParts) -> Pipeline:
        nonlocal has_warned
        pipeline = function(parts)
        if not isinstance(pipeline, Pipeline):
            hint = "; does it return the pipeline?" if pipeline is None else "."
            raise PluginUnfit(
                f"{OPTION}: expected a Pipeline from {spec}, got {type(pipeline).__name__}{hint}"
            )
        if not has_warned and (unused := {*parts.taps, *parts.inbound_taps} - set(_stages(pipeline))):
            has_warned = True  # once is enough: the function is the same for all calls
            logger.warning("{} leaves out {} taps: calls are not fully measured or kept.", spec, len(unused))
        return pipeline

    return make


def _stages(processor: FrameProcessor) -> Iterator[Any]:
    """Iterate over a processor and all that it contains."""
    yield processor
    for inner in processor.processors:
        yield from _stages(inner)
