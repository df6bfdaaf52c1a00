"""What of an engine's session can be set, in pipecat's way."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TypeVar

from pipecat.services.settings import LLMSettings
from pipecat.utils.types import NOT_GIVEN, NotGiven, is_given

from moshi_phone.engines.duplex import CallOverrides

T = TypeVar("T")


@dataclass
class MoshiSettings(LLMSettings):
    """The settings of a ``MoshiProcessor``: those of pipecat's LLM services, and two of a voice.

    ``temperature`` can change during a call, where the engine lets it; all else is taken by the next session
    (``request()``). ``system_instruction`` is the persona. What Moshi does not know is None.

    Attributes:
        voice: whose voice it speaks with, by name.
        greeting: the words that it says first.
    """

    voice: str | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    greeting: str | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)

    @classmethod
    def complete(cls, given: MoshiSettings | None) -> MoshiSettings:
        """Give settings in which everything has a value: what is given, and None for the rest."""
        settings = cls()
        for item in fields(cls):
            if not is_given(getattr(settings, item.name)):
                setattr(settings, item.name, None)
        if given is not None:
            settings.apply_update(given)
        return settings

    def request(self) -> CallOverrides:
        """Give what to open the next session with: ``engine.open_session(settings.request())``."""
        return CallOverrides(
            persona=_value(self.system_instruction),
            voice=_value(self.voice),
            greeting=_value(self.greeting),
            temperature=_value(self.temperature),
        )


def _value(value: T | NotGiven) -> T | None:
    return value if is_given(value) else None
