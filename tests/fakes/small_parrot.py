"""A parrot without delay that has two sessions, so that it is soon full."""

from __future__ import annotations

from moshi_phone.engines.parrot import ParrotEngine


class SmallParrot(ParrotEngine):
    """Two sessions."""

    def __init__(self) -> None:
        super().__init__(delay_s=0.0, capacity=2)
