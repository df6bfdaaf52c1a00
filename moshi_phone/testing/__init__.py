"""Tools to test your own stages: fake frames, a fake engine, simulated time (docs/testing.md)."""

from moshi_phone.testing.clock import run_simulated
from moshi_phone.testing.engine import FakeEngine, FakeSession
from moshi_phone.testing.frames import caller_frames, heard
from moshi_phone.testing.transport import FakeTransport

__all__ = ["FakeEngine", "FakeSession", "FakeTransport", "caller_frames", "heard", "run_simulated"]
