r"""A call with a text model in the background, by any service with OpenAI's API: Ollama, llama.cpp, OpenAI.

    DELEGATE_BASE_URL=http://localhost:11434/v1 DELEGATE_MODEL=qwen3 \
        uv run bot.py --engine moshi --listen --pipeline examples.delegate:phone_call_with_delegate

Moshi talks by itself; the model reads both sides, and its answers are spoken in Moshi's voice. Its three
tools tell the time, transfer the caller to --transfer-to, and hang up. Replace them with your own.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime

from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.llm import OpenAILLMService

from pipelines.call_parts import CallParts
from pipelines.phone_call import phone_call
from processors.delegate import Delegate

INSTRUCTIONS = """\
You listen to a phone call between a caller (user) and a voice (assistant) that talks by itself. What you
answer is said to the caller in that voice, word for word. Answer in one short sentence of plain words, and
only where the voice cannot know the answer or something has to be done; otherwise answer with a hyphen: -
"""


def phone_call_with_delegate(parts: CallParts) -> Pipeline:
    """Assemble ``phone_call`` with one more stage.

    The environment selects the service: ``DELEGATE_BASE_URL`` (by default Ollama's on this machine),
    ``DELEGATE_MODEL`` and ``DELEGATE_API_KEY``.
    """
    llm = OpenAILLMService(
        base_url=os.environ.get("DELEGATE_BASE_URL", "http://localhost:11434/v1"),
        api_key=os.environ.get("DELEGATE_API_KEY", "none"),
        settings=OpenAILLMService.Settings(
            model=os.environ.get("DELEGATE_MODEL", "qwen3"), system_instruction=INSTRUCTIONS
        ),
    )
    delegate: Delegate

    async def what_time_is_it(params: FunctionCallParams) -> None:
        """Tell the current date and time."""
        await params.result_callback({"now": datetime.now().astimezone().strftime("%A, %d %B, %H:%M")})

    async def transfer_to_a_person(params: FunctionCallParams) -> None:
        """Transfer the caller to a person, when they ask for one."""
        await params.result_callback({"begun": parts.transfer("the caller asked the delegate for a person")})

    async def hang_up(params: FunctionCallParams) -> None:
        """End the call, when the caller has said goodbye."""
        await params.result_callback({"ended": True})
        await delegate.hang_up()

    delegate = Delegate(
        parts.session, llm, LLMContext(tools=[what_time_is_it, transfer_to_a_person, hang_up])
    )
    return phone_call(replace(parts, taps=[delegate, *parts.taps]))
