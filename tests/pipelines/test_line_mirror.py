from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.bursts import delays_s, talk
from bot import run_call
from moshi_phone.conversation.live import Judge
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.app import create_app
from moshi_phone.testing.engine import FakeEngine
from tests.support.inline_executor import InlineExecutor
from tests.support.phone import start_message
from tests.support.simulated import SimulatedPhone, run_simulated


def test_the_caller_hears_themselves_one_frame_later() -> None:
    """Selected by name on the command line: ``--pipeline pipelines.line_mirror:line_mirror``."""
    said = talk(8, seed=1)

    async def main() -> NDArray[np.float32]:
        line = ServerState(
            FakeEngine(),
            Settings(server=ServerOptions(pipeline="pipelines.line_mirror:line_mirror")),
            judge=Judge(InlineExecutor()),
        )
        await line.engine.start(lambda _: None)
        return await SimulatedPhone(create_app(line, run_call), start_message()).talk(said.samples)

    delays = delays_s(said, run_simulated(main()))
    assert delays == [0.083] * len(said.spoken)
