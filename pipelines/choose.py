"""Loads a call's pipeline function: ``phone_call``, or the user's own (``--pipeline``)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from loguru import logger
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor

from moshi_phone.runtime.plugin import PluginUnfit, load
from pipelines.call_parts import CallParts

OPTION = "--pipeline"
OPTION_OF_ITS_OWN = "--pipeline-option"

MakePipeline = Callable[[CallParts], PipelineWorker]


def parse_options(lines: Sequence[str]) -> dict[str, str]:
    """Parse the values of ``--pipeline-option``.

    Raises:
        PluginUnfit: if one is not KEY=VALUE, or a key occurs twice.
    """
    options = dict[str, str]()
    for line in lines:
        key, equals, value = line.partition("=")
        if not (key and equals):
            raise PluginUnfit(f"{OPTION_OF_ITS_OWN}: expected KEY=VALUE, got {line!r}.")
        if key in options:
            raise PluginUnfit(f"{OPTION_OF_ITS_OWN}: {key} is there twice.")
        options[key] = value
    return options


def choose_pipeline(spec: str) -> MakePipeline:
    """Load a function that assembles a call, like ``phone_call``.

    Args:
        spec: ``MODULE:FUNCTION``.

    Returns:
        A function that creates the call's worker from the pipeline or worker returned by the loaded one.

    Raises:
        PluginUnfit: if there is no such function, or it cannot be called with ``CallParts`` alone.
    """
    function = load(spec, OPTION)
    if not callable(function):
        raise PluginUnfit(f"{OPTION}: expected a function that returns a Pipeline, got {spec}.")
    if inspect.iscoroutinefunction(function):
        raise PluginUnfit(f"{OPTION}: expected def, got async def {spec}; it must return a Pipeline at once.")
    signature = inspect.signature(function)
    try:  # at the start, not with the first call
        signature.bind(CallParts)
    except TypeError as error:
        raise PluginUnfit(
            f"{OPTION}: expected a function of one argument, a CallParts (pipelines/call_parts.py), "
            f"got {spec}{signature}."
        ) from error
    has_warned = False  # one warning for all calls

    def make(parts: CallParts) -> PipelineWorker:
        nonlocal has_warned
        made = function(parts)
        if not isinstance(made, (Pipeline, PipelineWorker)):
            hint = "; does it return the pipeline?" if made is None else "."
            raise PluginUnfit(
                f"{OPTION}: expected a Pipeline or a PipelineWorker from {spec}, "
                f"got {type(made).__name__}{hint}"
            )
        worker = made if isinstance(made, PipelineWorker) else parts.worker(made)
        if not has_warned and (unused := {*parts.taps, *parts.inbound_taps} - set(_stages(worker.pipeline))):
            has_warned = True  # once: the function is the same for all calls
            logger.warning("{} leaves out {} taps: calls are not fully measured or kept.", spec, len(unused))
        return worker

    return make


def _stages(processor: FrameProcessor) -> Iterator[Any]:
    """Yield a processor and all nested ones."""
    yield processor
    for inner in processor.processors:
        yield from _stages(inner)
