"""Settings of an engine's session, in pipecat's form."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TypeVar

from pipecat.services.settings import LLMSettings
from pipecat.utils.types import NOT_GIVEN, NotGiven, is_given

from moshi_phone.engines.duplex import CallOverrides

T = TypeVar("T")

OF_A_SESSION = frozenset({"system_instruction", "voice", "greeting", "temperature"})
"""The settings that ``request()`` gives to a session; the others of pipecat's have no effect."""


@dataclass
class MoshiSettings(LLMSettings):
    """Settings of a ``MoshiProcessor``: those of pipecat's LLM services, a voice and a greeting.

    ``temperature`` can change during a call if the engine supports it; all other settings apply to the next
    session (``request()``). ``system_instruction`` is the persona. Settings unknown to Moshi are None.

    Attributes:
        voice: name of its voice.
        greeting: its first words.
    """

    voice: str | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)
    greeting: str | NotGiven | None = field(default_factory=lambda: NOT_GIVEN)

    @classmethod
    def complete(cls, given: MoshiSettings | None) -> MoshiSettings:
        """Return settings without gaps: the given values, and None for the rest."""
        settings = cls()
        for item in fields(cls):
            if not is_given(getattr(settings, item.name)):  # pipecat requires a value in every field
                setattr(settings, item.name, None)
        if given is not None:
            settings.apply_update(given)
        return settings

    def request(self) -> CallOverrides:
        """Return the overrides for the next session: ``engine.open_session(settings.request())``."""
        return CallOverrides(
            persona=_value(self.system_instruction),
            voice=_value(self.voice),
            greeting=_value(self.greeting),
            temperature=_value(self.temperature),
        )


def _value(value: T | NotGiven) -> T | None:
    return value if is_given(value) else None
