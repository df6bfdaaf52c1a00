"""The stages behind a stage, in its pipeline."""

from __future__ import annotations

from collections.abc import Iterator

from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport


def stages_behind(stage: FrameProcessor) -> Iterator[FrameProcessor]:
    """Yield the later stages of the same pipeline, up to its sink."""
    behind = stage.next
    while behind is not None:
        yield behind
        behind = behind.next


def output_behind(stage: FrameProcessor) -> BaseOutputTransport | None:
    """Return the transport's output if it is a later stage of the same pipeline."""
    return next((behind for behind in stages_behind(stage) if isinstance(behind, BaseOutputTransport)), None)
