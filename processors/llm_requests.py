"""pipecat's requests to a language model, on which a full-duplex model does not act."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger
from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMMessagesAppendFrame,
    LLMMessagesTransformFrame,
    LLMMessagesUpdateFrame,
    LLMRunFrame,
    LLMSetToolsFrame,
    UserFileRawFrame,
    UserImageRawFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.utils.types import is_given

from processors.chain import stages_behind

if TYPE_CHECKING:
    from pipecat.processors.aggregators.llm_context import LLMContext

# Frames that add something to a context, and may ask for an answer (run_llm).
_WITH_CONTENT = (
    LLMMessagesAppendFrame,
    LLMMessagesTransformFrame,
    LLMMessagesUpdateFrame,
    UserFileRawFrame,
    UserImageRawFrame,
)
_OF_THE_PROGRAM = ("system", "developer")  # roles of messages that no context aggregator makes of speech


class LLMRequests:
    """Warns once of a frame that asks a language model to answer, or gives it a role or tools."""

    def __init__(self) -> None:
        self._has_warned = False

    def note(self, frame: Frame, stage: FrameProcessor) -> None:
        """Warn of the frame, unless a language model is behind the stage.

        Args:
            frame: passes the stage downstream.
            stage: runs a full-duplex model.
        """
        if self._has_warned or not is_request(frame) or _precedes_language_model(stage):
            return
        self._has_warned = True
        logger.warning(
            "{} answers what it hears, not an LLM context: {}, messages and tools have no effect. Its role "
            "and first words are settings of the session (persona, greeting); a TTSSpeakFrame has it say a "
            "text",
            stage.name,
            type(frame).__name__,
        )


def is_request(frame: Frame) -> bool:
    """Return whether a frame asks a language model to answer, or gives it a role or tools.

    A context aggregator pushes an ``LLMContextFrame`` after each turn of the caller. That alone is not a
    request: it repeats the transcription.
    """
    if isinstance(frame, LLMContextFrame):
        return _is_instruction(frame.context)
    if isinstance(frame, _WITH_CONTENT):
        return bool(frame.run_llm)
    return isinstance(frame, (LLMRunFrame, LLMSetToolsFrame))


def _is_instruction(context: LLMContext) -> bool:
    messages = context.get_messages()
    roles = [message.get("role") for message in messages if isinstance(message, dict)]
    return not messages or is_given(context.tools) or any(role in _OF_THE_PROGRAM for role in roles)


def _precedes_language_model(stage: FrameProcessor) -> bool:
    # Only pipecat's LLMService has this method.
    return any(hasattr(behind, "run_inference") for behind in stages_behind(stage))
