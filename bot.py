"""Moshi on the phone: the entry point.

``uv run bot.py`` answers calls; ``uv run bot.py --help`` lists the other commands. pipecat's own runner (and
Pipecat Cloud) calls ``bot`` for each connection.
"""

from __future__ import annotations

if __name__ == "__main__":
    import signal
    import sys
    from importlib.util import find_spec

    # Before a command runs, there is nothing to clean up: Ctrl-C ends the process at once, without a
    # traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if ignored, as under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if missing := [name for name in ("loguru", "click", "fastapi", "pipecat") if find_spec(name) is None]:
        sys.exit(
            f"The packages of this program are not installed here ({missing[0]} is missing). Run it as "
            "uv run bot.py, which installs them; https://docs.astral.sh/uv says how to get uv."
        )
    from moshi_phone.commands.main import main

    def _load() -> RunCall:
        from bot import run_call as drive_call  # noqa: PLC0415 - loads pipecat

        return drive_call

    main(_load)  # ends the process; the imports below are for commands that answer calls

import asyncio
from dataclasses import replace
from functools import partial
from uuid import uuid4

from fastapi import WebSocket
from loguru import logger
from pipecat.frames.frames import ErrorFrame
from pipecat.pipeline.worker import PipelineWorker
from pipecat.runner.types import RunnerArguments, WebSocketRunnerArguments
from pipecat.services.ai_service import AIService
from pipecat.transports.base_transport import BaseTransport
from pipecat.workers.runner import WorkerRunner

from moshi_phone.access.refusal import INTERNAL_ERROR, PROTOCOL_ERROR, StreamRefused, Where
from moshi_phone.access.source import source_of
from moshi_phone.engines.duplex import DuplexSession
from moshi_phone.runtime.call_log import call_context
from moshi_phone.server.calls.call import Call, CallState
from moshi_phone.server.calls.consent import begin_consent, tell
from moshi_phone.server.calls.control import CallControl, end_at_limit
from moshi_phone.server.calls.media_watch import close_dead_sockets, end_when_idle
from moshi_phone.server.calls.next_step import wait_secs
from moshi_phone.server.calls.option_stages import action_monitors, caller_filters
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.calls.silence import watch_conversation
from moshi_phone.server.calls.state import RunCall, ServerState
from moshi_phone.server.calls.stream import answer_transport, handle_stream
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.runner import RunnerState, runners_app
from moshi_phone.server.runner_transport import (
    PLAIN_SOCKET,
    TELEPHONY,
    TWILIO,
    UNKNOWN,
    TransportUnavailable,
    hang_up_unanswered,
    make_transport,
    overrides_of,
    rate_hz_of,
    recognize,
)
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.media_stream import Start
from pipelines.call_parts import CallParts
from pipelines.choose import MakePipeline, choose_pipeline, parse_options
from pipelines.taps import make_taps
from processors.echo import EchoPath
from processors.frames import MarkOutputFrame
from processors.playback_end import PlaybackEnd
from processors.tone import ToneOverlay
from processors.twilio import DISCONNECTED, TwilioTransport
from processors.twilio_serializer import STOPPED, VIOLATED, TwilioSerializer

HEARD_SECS = 0.3  # Twilio sends a packet every 20 ms; a stream without one for this long may have ended
ANY_TRANSPORT = "pipelines.any_transport:any_transport"


async def run_call(websocket: WebSocket, call: Call, session: DuplexSession, state: ServerState) -> None:
    """Run one Twilio call: assemble its pipeline, run it, and return when it has ended.

    The caller closes the session and the socket, and limits the time of this (``server/calls/ending.py``).

    Args:
        websocket: accepted, its ``start`` message read.
        call: the call; ``call.request_end(...)`` ends it from anywhere.
        session: opened for this call.
        state: shared state of the server.
    """
    serializer = TwilioSerializer(call.start.stream_sid)
    transport = TwilioTransport(websocket, serializer)
    loop = asyncio.get_running_loop()

    async def on_stopped(_: TwilioSerializer) -> None:
        if not call.awaits_stream:  # it ends because another stream takes its place
            call.caller_hung_up = True
            call.stream_ended("the caller hung up")

    async def on_violated(_: TwilioSerializer, reason: str) -> None:
        call.request_end(reason, PROTOCOL_ERROR)

    def take_over(newer: WebSocket, start: Start) -> float | None:
        if transport.is_over:  # too late: the pipeline is ending
            return None
        lost_s = loop.time() - serializer.media_s
        transport.replace(newer, start.stream_sid)
        call.websocket, call.start = newer, start
        return lost_s

    transport.wait_secs = partial(wait_secs, call, state)  # how long to wait for another stream
    call.take_over = take_over

    async def on_client_disconnected(_: TwilioTransport, __: WebSocket) -> None:
        call.broke_off = call.state is CallState.ACTIVE and not call.handed_over
        call.stream_ended("the socket was closed")

    serializer.add_event_handler(STOPPED, on_stopped)
    serializer.add_event_handler(VIOLATED, on_violated)
    transport.add_event_handler(DISCONNECTED, on_client_disconnected)

    call.is_heard = lambda: not transport.is_lost and loop.time() - serializer.media_s < HEARD_SECS

    def last_audio_s() -> float:
        return serializer.audio_s

    watchers = [asyncio.create_task(close_dead_sockets(call, last_audio_s, state))]
    if idle_secs := state.settings.server.idle_secs:
        watchers.append(asyncio.create_task(end_when_idle(call, last_audio_s, idle_secs)))
    try:
        await _run(CallParts(transport, session), state.make_pipeline, call, state)
    finally:
        for watcher in watchers:
            watcher.cancel()


async def run_on_transport(
    transport: BaseTransport,
    rate_hz: int,
    call: Call,
    session: DuplexSession,
    state: ServerState,
    *,
    rtvi: bool,
) -> None:
    """Run one call on any pipecat transport, like ``run_call``.

    Args:
        transport: closes its own connection.
        rate_hz: sample rate at its ends.
        call: ``call.request_end(...)`` ends it from anywhere.
        session: opened for this call.
        state: shared state of the server.
        rtvi: whether the peer is a pipecat client.
    """

    async def on_client_disconnected(*_: object) -> None:
        call.stream_ended("the caller has left")

    transport.add_event_handler(DISCONNECTED, on_client_disconnected)
    parts = CallParts(transport, session, rate_hz=rate_hz, rtvi=rtvi)
    own = state.settings.server.pipeline
    # phone_call expects µ-law, which only Twilio's transport has
    make = choose_pipeline(ANY_TRANSPORT) if own == ServerOptions.pipeline else state.make_pipeline
    await _run(parts, make, call, state)


async def _run(parts: CallParts, make: MakePipeline, call: Call, state: ServerState) -> None:
    """Assemble the pipeline, and run it to its end."""
    playback, tone = PlaybackEnd(), ToneOverlay()
    worker = make(_complete(parts, call, state, playback, tone))

    async def on_pipeline_error(_: PipelineWorker, error: ErrorFrame) -> None:
        # A service retries, and reports when it cannot continue. A stage that raised has lost its frame.
        if isinstance(error.processor, AIService) and error.processor.is_usable:
            return
        call.request_end(error.error, INTERNAL_ERROR)

    worker.add_event_handler("on_pipeline_error", on_pipeline_error)
    call.until_played = lambda: playback.wait(lambda mark: worker.queue_frame(MarkOutputFrame(mark)))

    # Cancelled, not ended: frames in the queues are worthless once the call has ended.
    async def cancel_when_ended() -> None:
        reason, _ = await call.wait_for_end()
        await worker.cancel(reason=reason)

    runner = WorkerRunner(handle_sigint=False)  # the program handles signals: it lets the calls finish first
    await runner.add_workers(worker)
    watchers = [asyncio.create_task(cancel_when_ended())]
    if state.settings.taps.record_notice:
        watchers.append(asyncio.create_task(tell(call, state, call.observations.consent)))
    if limit_secs := state.settings.calls.call_limit_secs:
        watchers.append(asyncio.create_task(end_at_limit(call, limit_secs, tone.sound)))
    try:
        await runner.run()
    finally:
        for watcher in watchers:
            watcher.cancel()


def _complete(
    parts: CallParts, call: Call, state: ServerState, playback: PlaybackEnd, tone: ToneOverlay
) -> CallParts:
    """Add the parts that the options ask for: taps, filters, and the call's control."""
    settings, metrics = state.settings, call.observations.metrics
    control = CallControl(call, state)
    call.observations.consent = begin_consent(call, state)
    call.observations.conversation = watch_conversation(call, state)
    echo = EchoPath(settings.calls.echo_cancel, metrics)
    taps = make_taps(
        settings.taps,
        call.file_name,
        call.observations,
        state.files,
        call.heading(state.engine.name, state.history.mask),
        watches=[*action_monitors(call, state, control), playback],
        sinks=[echo],
    )
    return replace(
        parts,
        inbound_taps=taps.inbound_taps,
        # Before the taps: the recording must contain what the caller hears.
        taps=[tone, *taps.taps] if settings.calls.call_limit_secs else taps.taps,
        playout_lead_ms=settings.server.playout_lead_ms,
        hang_secs=settings.engine.hang_secs,
        transfer=control.transfer,
        echo=echo,
        cleaners=caller_filters(settings.calls, metrics),
        options=parse_options(settings.server.pipeline_option),
    )


def _settings() -> Settings:
    """Read the settings from the environment, with the names and defaults of the command line."""
    from moshi_phone.commands.options import from_environment  # noqa: PLC0415 - click is for the command line

    return from_environment(Settings)


runner_state = RunnerState(_settings)  # nothing is loaded on import: get() does that


async def bot(runner_args: RunnerArguments) -> None:
    """Answer one call for pipecat's runner, with the engine chosen by the environment or by default.

    Twilio streams are answered as by ``uv run bot.py``; other calls by pipecat's own transports with the same
    stages. The runner decides on access.

    Args:
        runner_args: the runner's. ``body`` may contain ``persona``, ``voice``, ``greeting`` and
            ``temperature``; ``session_id`` names a call without a telephone provider's ID.
    """
    websocket = runner_args.websocket if isinstance(runner_args, WebSocketRunnerArguments) else None
    state = await runner_state.get(websocket.scope.get("app") if websocket else runners_app())
    start_secs = state.settings.server.start_secs
    kind: str | None = None
    try:
        request = overrides_of(runner_args.body, state.personas)
        if isinstance(runner_args, WebSocketRunnerArguments) and runner_args.transport_type != PLAIN_SOCKET:
            kind, first = await recognize(runner_args.websocket, within_secs=start_secs)
            if kind in (TWILIO, UNKNOWN):  # an unknown stream is refused there, with a reason

                def admit(start: Start) -> None:
                    own = overrides_of(start.custom_parameters, state.personas).or_else(request)
                    state.expected.add(
                        start.call_sid, PendingCall(request=own, is_runners=True), state.clock()
                    )

                await handle_stream(runner_args.websocket, state, run_call, admit, first=first)
                return
        transport = await make_transport(runner_args, kind)
        run = partial(run_on_transport, transport, rate_hz_of(kind), rtvi=kind not in TELEPHONY)
        call_data = runner_args.call_data
        call_id = (call_data.call_id if call_data else None) or runner_args.session_id or str(uuid4())
        with call_context(call_id):
            await answer_transport(call_id, state, run, request=request, websocket=websocket)
    except StreamRefused as refused:
        peer = source_of(websocket) if websocket else "the runner"
        state.refusals.note(Where.STREAM, refused.refusal, call_sid="", peer=peer)
        await hang_up_unanswered(runner_args, refused.code, refused.refusal.reason)
    except TransportUnavailable as unavailable:
        logger.error("{}", unavailable)
        await hang_up_unanswered(runner_args, INTERNAL_ERROR, str(unavailable))
