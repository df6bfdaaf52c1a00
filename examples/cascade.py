r"""A cascade instead of Moshi: pipecat's speech-to-text, language model and text-to-speech services.

    CASCADE_BASE_URL=http://localhost:8000/v1 \
        uv run bot.py --engine parrot --pipeline examples.cascade:cascade

It works with any service with OpenAI's API (OpenAI itself with ``CASCADE_API_KEY``), and pipecat's other
STT, LLM and TTS services fit into the same places. Unlike Moshi, it takes turns: a caller who speaks
interrupts the bot. The engine's session is not used; ``--engine parrot`` needs no download.
"""

from __future__ import annotations

import os

from fastapi import WebSocket
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.stt import OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.transports.base_transport import BaseTransport
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from moshi_phone.audio.formats import PHONE_RATE_HZ
from pipelines.call_parts import CallParts
from processors.mulaw import MulawDecoder, MulawEncoder
from processors.resampler import Resampler

INSTRUCTIONS = "You are a friendly person on the phone. Answer in one or two short sentences of plain words."
GREETING = "Hello, how can I help you?"
TTS_RATE_HZ = 24_000  # OpenAI's output


def cascade(parts: CallParts) -> Pipeline:
    """Assemble the call.

    The environment selects the services: ``CASCADE_BASE_URL`` (by default OpenAI's), ``CASCADE_API_KEY``,
    ``CASCADE_STT``, ``CASCADE_LLM`` and ``CASCADE_TTS`` (models).
    """
    url = os.environ.get("CASCADE_BASE_URL")
    key = os.environ.get("CASCADE_API_KEY", "none")
    stt = OpenAISTTService(
        base_url=url,
        api_key=key,
        settings=OpenAISTTService.Settings(model=os.environ.get("CASCADE_STT", "whisper-1")),
    )
    llm = OpenAILLMService(
        base_url=url,
        api_key=key,
        settings=OpenAILLMService.Settings(
            model=os.environ.get("CASCADE_LLM", "gpt-4.1-mini"), system_instruction=INSTRUCTIONS
        ),
    )
    tts = OpenAITTSService(
        base_url=url,
        api_key=key,
        sample_rate=TTS_RATE_HZ,
        settings=OpenAITTSService.Settings(
            model=os.environ.get("CASCADE_TTS", "gpt-4o-mini-tts"), voice="alloy"
        ),
    )
    aggregators = LLMContextAggregatorPair(
        LLMContext(),
        user_params=LLMUserAggregatorParams(
            vad_analyzer=SileroVADAnalyzer(),
            user_turn_strategies=UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy()]),
        ),
    )

    async def on_client_connected(_: BaseTransport, __: WebSocket) -> None:
        await tts.queue_frame(TTSSpeakFrame(GREETING))

    parts.transport.add_event_handler("on_client_connected", on_client_connected)
    return Pipeline(
        [
            parts.transport.input(),  # Twilio's JSON → µ-law
            *parts.inbound_taps,
            MulawDecoder(),  # → 16-bit PCM, 8 kHz, which recognizers and the voice detector take
            stt,  # ↓ the stages in MoshiProcessor's place
            aggregators.user(),
            llm,
            tts,  # ↑
            Resampler(TTS_RATE_HZ, PHONE_RATE_HZ),
            MulawEncoder(),  # no PlayoutGovernor: the transport paces a TTS's audio
            *parts.taps,
            parts.transport.output(),  # → Twilio's JSON, in real time
            aggregators.assistant(),  # behind the output: it stores spoken words, not interrupted ones
        ]
    )
