r"""The same call without a phone: in a browser, with Opus, by pipecat's SmallWebRTC and its page.

    uv run --extra runner --extra webrtc python -m examples.webrtc -t webrtc

and open the address that it prints. There is nothing to resample: WebRTC carries 24 kHz as it is.
"""

from __future__ import annotations

from pipecat.pipeline.pipeline import Pipeline
from pipecat.runner.types import RunnerArguments, SmallWebRTCRunnerArguments
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport

from examples import shared_engine
from moshi_phone.audio.formats import SAMPLE_RATE_HZ
from moshi_phone.engines.duplex import DuplexSession
from processors.moshi import MoshiProcessor


def webrtc_call(transport: BaseTransport, session: DuplexSession) -> Pipeline:
    """Assemble the call: what the phone's line needs is left out."""
    return Pipeline([transport.input(), MoshiProcessor(session), transport.output()])


async def bot(runner_args: RunnerArguments) -> None:
    """Answer one call for pipecat's runner."""
    if not isinstance(runner_args, SmallWebRTCRunnerArguments):
        raise TypeError(f"expected WebRTC from the runner (-t webrtc), got {type(runner_args).__name__}")
    transport = SmallWebRTCTransport(
        runner_args.webrtc_connection, TransportParams(audio_in_enabled=True, audio_out_enabled=True)
    )
    async with shared_engine.session() as session:
        worker = shared_engine.worker_of(webrtc_call(transport, session), SAMPLE_RATE_HZ)

        async def on_client_disconnected(_: SmallWebRTCTransport, __: SmallWebRTCConnection) -> None:
            await worker.cancel()

        transport.add_event_handler("on_client_disconnected", on_client_disconnected)
        await shared_engine.run(worker)


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
