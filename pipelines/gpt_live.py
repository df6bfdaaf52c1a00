"""OpenAI's full-duplex model in place of Moshi: the same call, with pipecat's own service as its stage.

    OPENAI_API_KEY=… uv run bot.py --engine parrot --pipeline pipelines.gpt_live:gpt_live

It differs from ``phone_call`` in the stages that replace ``MoshiProcessor``. The engine's session is not
used: ``--engine parrot`` needs no resources, and has 64 sessions.
"""

from __future__ import annotations

import os

from pipecat.frames.frames import Frame, LLMContextFrame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.live.llm import OpenAILiveLLMService

from moshi_phone.audio.formats import PHONE_RATE_HZ, SAMPLE_RATE_HZ
from moshi_phone.runtime.plugin import PluginUnfit
from pipelines.call_parts import CallParts
from processors.mulaw import MulawDecoder, MulawEncoder
from processors.playout import PlayoutGovernor
from processors.resampler import Resampler

INSTRUCTIONS = "You are a friendly person on the phone. Answer in the caller's language, in short sentences."
GREETING = "Greet the caller in one short sentence."


class OpensTalk(FrameProcessor):
    """Gives the service its first context, with which its session starts."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass every frame, and push a context after the start."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            # A developer message at the end asks the model to speak first.
            greeting = LLMContext([{"role": "developer", "content": GREETING}])
            await self.push_frame(LLMContextFrame(greeting))


def gpt_live(parts: CallParts) -> Pipeline:
    """Assemble the call.

    Raises:
        PluginUnfit: if ``OPENAI_API_KEY`` is not set.
    """
    return Pipeline(
        [
            parts.transport.input(),
            *parts.inbound_taps,
            MulawDecoder(),
            Resampler(PHONE_RATE_HZ, SAMPLE_RATE_HZ),
            OpensTalk(),  # ↓ the stages in MoshiProcessor's place
            make_service(),  # ↑
            Resampler(SAMPLE_RATE_HZ, PHONE_RATE_HZ),
            PlayoutGovernor(parts.playout_lead_ms),
            MulawEncoder(),
            *parts.taps,
            parts.transport.output(),
        ]
    )


def make_service() -> OpenAILiveLLMService:
    """Create pipecat's service with the key in ``OPENAI_API_KEY``; ``OPENAI_LIVE_URL`` overrides its URL.

    Raises:
        PluginUnfit: if there is no key.
    """
    key = os.environ.get("OPENAI_API_KEY", "")
    if not key:
        raise PluginUnfit("pipelines.gpt_live needs OPENAI_API_KEY, in the environment or in .env.")
    settings = OpenAILiveLLMService.Settings(system_instruction=INSTRUCTIONS)
    if url := os.environ.get("OPENAI_LIVE_URL", ""):
        return OpenAILiveLLMService(api_key=key, base_url=url, settings=settings)
    return OpenAILiveLLMService(api_key=key, settings=settings)
