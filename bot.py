"""Moshi on the phone: the front door.

``uv run bot.py`` answers calls; ``uv run bot.py --help`` lists what else it does. ``bot`` is what pipecat's
own runner (and Pipecat Cloud) calls for each connection.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.util import find_spec

if __name__ == "__main__":
    if missing := [name for name in ("loguru", "click", "fastapi", "pipecat") if find_spec(name) is None]:
        sys.exit(
            f"The packages of this program are not installed here ({missing[0]} is missing). Run it as "
            "uv run bot.py, which installs them; https://docs.astral.sh/uv says how to get uv."
        )
    # pipecat greets with a banner when it is loaded, before anybody has said how the log shall look.
    from moshi_phone.commands.logs import log_to_stderr

    log_to_stderr("warning")

from fastapi import WebSocket
from pipecat.frames.frames import ErrorFrame
from pipecat.pipeline.worker import PipelineWorker
from pipecat.runner.types import RunnerArguments, WebSocketRunnerArguments
from pipecat.workers.runner import WorkerRunner

from moshi_phone.access.refusal import INTERNAL_ERROR, PROTOCOL_ERROR
from moshi_phone.engines.duplex import DuplexSession
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.control import CallControl, end_at_limit
from moshi_phone.server.calls.silence import watch_conversation
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.calls.stream import handle_stream
from moshi_phone.server.runner import RunnerState
from moshi_phone.server.settings import Settings
from pipelines.call_parts import CallParts
from pipelines.choose import parse_options
from pipelines.taps import make_taps
from processors.dtmf_actions import Action, DtmfActions
from processors.phrase_trigger import PhraseTrigger
from processors.tap import FrameObserver
from processors.tone import ToneOverlay
from processors.twilio import DISCONNECTED, STOPPED, VIOLATED, TwilioSerializer, TwilioTransport

HEARD_SECS = 0.3  # Twilio sends a packet each 20 ms; a stream that brings none for so long may be over


async def run_call(websocket: WebSocket, call: Call, session: DuplexSession, state: ServerState) -> None:
    """Drive one call: assemble its pipeline, run it, and return when it is over.

    Whoever opened the session and the socket closes both (``server/calls/ending.py``), and bounds this.

    Args:
        websocket: accepted, its ``start`` message read.
        call: what was read; ``call.request_end(...)`` ends the call from anywhere.
        session: opened for this call.
        state: what all calls share.
    """
    serializer = TwilioSerializer(call.start.stream_sid)
    transport = TwilioTransport(websocket, serializer)
    options = state.settings.server
    heading = call.heading(state.engine.name)
    control = CallControl(call, state)
    watches = _watches(call, state, control)
    call.observations.conversation = watch_conversation(call, state)
    taps = make_taps(
        state.settings.taps, call.file_name, call.observations, state.files, heading, watches=watches
    )
    tone = ToneOverlay()
    worker = state.make_pipeline(
        CallParts(
            transport,
            session,
            inbound_taps=taps.inbound_taps,
            # Before the taps: what is recorded is what the caller hears.
            taps=[tone, *taps.taps] if state.settings.calls.call_limit_secs else taps.taps,
            playout_lead_ms=options.playout_lead_ms,
            hang_secs=state.settings.engine.hang_secs,
            transfer=control.transfer,
            options=parse_options(options.pipeline_option),
        )
    )

    async def on_stopped(_: TwilioSerializer) -> None:
        call.caller_hung_up = True
        call.stream_ended("the caller hung up")

    async def on_violated(_: TwilioSerializer, reason: str) -> None:
        call.request_end(reason, PROTOCOL_ERROR)

    async def on_client_disconnected(_: TwilioTransport, __: WebSocket) -> None:
        call.stream_ended("the socket was closed")

    async def on_pipeline_error(_: PipelineWorker, error: ErrorFrame) -> None:
        call.request_end(error.error, INTERNAL_ERROR)

    serializer.add_event_handler(STOPPED, on_stopped)
    serializer.add_event_handler(VIOLATED, on_violated)
    transport.add_event_handler(DISCONNECTED, on_client_disconnected)
    worker.add_event_handler("on_pipeline_error", on_pipeline_error)

    loop = asyncio.get_running_loop()
    call.is_heard = lambda: loop.time() - serializer.media_s < HEARD_SECS

    async def end_when_idle() -> None:
        # Not polling: it sleeps up to a deadline that media has moved, seldom more than once in 30 s.
        while (left_secs := serializer.media_s + options.idle_secs - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left_secs)
        call.request_end(f"no media came for {options.idle_secs:g} s")

    async def cancel_when_ended() -> None:
        reason, _ = await call.wait_for_end()
        await worker.cancel(reason=reason)

    runner = WorkerRunner(handle_sigint=False)  # signals are the program's: it lets the calls finish first
    await runner.add_workers(worker)
    watchers = [asyncio.create_task(cancel_when_ended())]
    if options.idle_secs:
        watchers.append(asyncio.create_task(end_when_idle()))
    if limit_secs := state.settings.calls.call_limit_secs:
        watchers.append(asyncio.create_task(end_at_limit(call, limit_secs, tone.sound)))
    try:
        await runner.run()
    finally:
        for watcher in watchers:
            watcher.cancel()


def _watches(call: Call, state: ServerState, control: CallControl) -> list[FrameObserver]:
    """Make what looks out for keys and phrases that do something."""
    asked = state.settings.calls
    keys: dict[str, Action] = {}
    if state.settings.server.hangup_key:
        keys[state.settings.server.hangup_key] = call.request_end
    if asked.transfer_key:
        keys[asked.transfer_key] = control.transfer
    watches: list[FrameObserver] = [DtmfActions(keys)] if keys else []
    if asked.transfer_phrase:
        watches.append(PhraseTrigger(asked.transfer_phrase, control.transfer, by_both=False))
    if asked.hangup_phrase:
        watches.append(PhraseTrigger(asked.hangup_phrase, call.request_end, by_both=True))
    return watches


def _settings() -> Settings:
    """Read how everything is set from the environment, by the command line's own names and defaults."""
    from moshi_phone.commands.options import from_environment  # noqa: PLC0415 - click is for the command line

    return from_environment(Settings)


_runner_state = RunnerState(_settings)


async def bot(runner_args: RunnerArguments) -> None:
    """Answer one call for pipecat's runner, with the engine that the environment or the defaults choose.

    Who may come in is the runner's business.

    Raises:
        TypeError: when the runner's transport is not a WebSocket.
    """
    if not isinstance(runner_args, WebSocketRunnerArguments):
        raise TypeError(f"expected a WebSocket from the runner, got {type(runner_args).__name__}")
    state = await _runner_state.get(runner_args.websocket)
    await handle_stream(runner_args.websocket, state, run_call, admit=lambda _: None)


if __name__ == "__main__":
    from moshi_phone.commands.main import main

    main(run_call)
