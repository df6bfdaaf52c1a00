from __future__ import annotations

import asyncio

import pytest

from moshi_phone.engines.stop_engine import stop_engine
from moshi_phone.testing.engine import FakeEngine
from tests.support.logs import Logged


class Stubborn(FakeEngine):
    """An engine whose ``stop`` behaves as configured."""

    def __init__(self, error: BaseException | None = None, *, deaf: bool = False) -> None:
        super().__init__()
        self._error, self._deaf = error, deaf

    async def stop(self) -> None:
        if self._error is not None:
            raise self._error
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not self._deaf:
                    raise
                self._deaf = False  # for one time: the test itself is to end


@pytest.mark.parametrize("deaf", [False, True])
async def test_an_engine_that_hangs_is_abandoned(logged: Logged, *, deaf: bool) -> None:
    async with asyncio.timeout(20):
        await stop_engine(Stubborn(deaf=deaf), within_secs=0.05)
    assert "did not stop within 0.05 s" in logged.text
    await asyncio.sleep(0)


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(1), KeyboardInterrupt()])
async def test_an_engine_that_raises_does_not_stop_the_shutdown(logged: Logged, error: BaseException) -> None:
    await stop_engine(Stubborn(error))
    assert "failed to stop" in logged.text
