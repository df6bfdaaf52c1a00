from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.bursts import delays_s, talk
from bot import run_call
from server.app import create_app
from server.options import ServerOptions
from server.state import ServerState
from tests.fake_engines import FakeEngine
from tests.phone import start_message
from tests.simulated import SimulatedPhone, run_simulated


def test_the_caller_hears_themselves_one_frame_later() -> None:
    """By its name on the command line: ``--pipeline pipelines.line_mirror:line_mirror``."""
    said = talk(8, seed=1)

    async def main() -> NDArray[np.float32]:
        line = ServerState(FakeEngine(), ServerOptions(pipeline="pipelines.line_mirror:line_mirror"))
        await line.engine.start(lambda _: None)
        return await SimulatedPhone(create_app(line, run_call), start_message()).talk(said.samples)

    delays = delays_s(said, run_simulated(main()))
    assert delays == [0.083] * len(said.spoken)
