"""The fake engine of the kit for users, by its old name here."""

from moshi_phone.testing.engine import FakeEngine, FakeSession

__all__ = ["FakeEngine", "FakeSession"]
