"""Personas: ``personas.toml``, and a persona given as text. Pure; no model, no telephone.

[default]                       # what a section leaves out, and every other call
persona = "You are Anna, the receptionist of a dental practice. ..."
voice = "NATF2"

[sales]
numbers = ["+15551234567"]      # who was called, or who calls
persona = "@sales.txt"          # a file, next to this one
greeting = "Hello, this is Ben."
temperature = 0.6
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from moshi_phone.engines.call_texts import fill, has_placeholder
from moshi_phone.engines.duplex import (
    NO_OVERRIDES,
    CallOverrides,
    DuplexEngine,
    EngineUnavailable,
    RequestRefused,
)
from moshi_phone.engines.line_hours import KEYS, LineHours, read_line_hours
from moshi_phone.engines.opening_hours import HoursUnfit
from moshi_phone.engines.options import SPEECH, EngineOptions
from moshi_phone.engines.said_words import fault_of_greeting
from moshi_phone.engines.voices import PERSONAPLEX_REPO, needs_personaplex

DEFAULT = "default"
MAX_PERSONA_CHARS = 8000
MAX_TEMPERATURE = 2.0

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEXTS = ("persona", "voice", "greeting")


class PersonasUnfit(EngineUnavailable):
    """A persona or its file is unusable; the message never contains a persona's words."""


@dataclass(frozen=True)
class Personas:
    """The sections of the file, completed by the default.

    Attributes:
        default: for calls without a section.
        sections: by name.
        names_by_number: the section of each number, E.164.
        hours: each section's opening hours, by its name; ``default`` for all other calls.
    """

    default: CallOverrides = NO_OVERRIDES
    sections: Mapping[str, CallOverrides] = field(default_factory=dict[str, CallOverrides])
    names_by_number: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    hours: Mapping[str, LineHours] = field(default_factory=dict[str, LineHours])

    @property
    def names(self) -> list[str]:
        """Names to choose from; sections named by a phone number are private."""
        return [name for name in self.sections if not _NUMBER.fullmatch(name)]

    def for_call(self, *, called: str, caller: str) -> CallOverrides:
        """Return a call's settings; the caller's section takes precedence over the called number's."""
        name = self.name_for_call(called=called, caller=caller)
        return self.default if name is None else self.sections[name]

    def name_for_call(self, *, called: str, caller: str) -> str | None:
        """Return the name of the section that ``for_call`` uses; None for the default."""
        return self.names_by_number.get(caller) or self.names_by_number.get(called)

    def hours_of(self, *, called: str, caller: str) -> LineHours:
        """Return the opening hours of a call's line."""
        return self.hours_of_section(self.name_for_call(called=called, caller=caller))

    def hours_of_section(self, name: str | None) -> LineHours:
        """Return a section's opening hours; None selects the default."""
        return self.hours.get(name or DEFAULT, _ALWAYS)

    def filled(
        self, request: CallOverrides, section: str | None, now: datetime, caller: str
    ) -> CallOverrides:
        """Fill ``{now}``, ``{weekday}`` and ``{caller}`` in the texts of a call's request.

        Args:
            request: the call's settings; unset fields are the default's.
            section: the section whose hours determine the time zone.
            now: the current time, with its time zone.
            caller: the other person's number; empty if unknown.
        """
        default = CallOverrides(
            persona=self.default.persona if has_placeholder(self.default.persona) else None,
            greeting=self.default.greeting if has_placeholder(self.default.greeting) else None,
        )
        here = self.hours_of_section(section).hours.local(now)
        return fill(request.or_else(default), here, caller)

    def select(self, name_or_persona: str) -> CallOverrides:
        """Return a section by its name, or else the default with this persona."""
        section = self.sections.get(name_or_persona)
        return section if section is not None else replace(self.default, persona=name_or_persona)


_ALWAYS = LineHours()
NO_PERSONAS = Personas()


def load_personas(path: Path | None) -> Personas:
    """Read the file; without one there are no sections.

    Raises:
        PersonasUnfit: with one sentence that gives the reason.
    """
    if path is None:
        return NO_PERSONAS
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise PersonasUnfit(f"--personas: {path} cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise PersonasUnfit(f"--personas: {path} is not TOML ({error}).") from error
    # First, because it provides the defaults of the other sections.
    default_table = data.pop(DEFAULT, {})
    default = _request(path, DEFAULT, default_table)
    hours = {DEFAULT: _hours(path, DEFAULT, default_table)}
    sections: dict[str, CallOverrides] = {}
    names_by_number: dict[str, str] = {}
    for name, table in data.items():
        if not _NAME.fullmatch(name) and not _NUMBER.fullmatch(name):
            raise PersonasUnfit(f"--personas: {path}: section names are letters, digits, _ and - only.")
        own = _request(path, name, table)
        sections[name] = own.or_else(default)
        hours[name] = _hours(path, name, default_table | table)
        for number in _numbers(path, name, table):
            if number in names_by_number:
                raise PersonasUnfit(f"--personas: {path}: a number of [{name}] is in another section too.")
            # A reverse index: a call's look-up is one dict access.
            names_by_number[number] = name
    return Personas(default, sections, names_by_number, hours)


def check_sections(personas: Personas, engine: DuplexEngine) -> None:
    """Check, once the engine is loaded, that it supports all sections.

    Raises:
        PersonasUnfit: names the first unsupported section.
    """
    for name, request in personas.sections.items():
        try:
            engine.check_request(request)
        except RequestRefused as refusal:
            raise PersonasUnfit(f"--personas: [{name}]: {refusal}") from refusal


def read_persona(text: str, folder: Path = Path()) -> str:
    """Return a persona's words: the text, or the content of the file after an ``@``.

    Raises:
        PersonasUnfit: when there is no such file, or the text is too long.
    """
    if text.startswith("@"):
        path = folder / Path(text[1:]).expanduser()
        try:
            text = path.read_text()
        except OSError as error:
            raise PersonasUnfit(
                f"The persona's file {path} cannot be read ({error.strerror or error})."
            ) from error
        except ValueError as error:
            raise PersonasUnfit(f"The persona's file {path} is not UTF-8 text.") from error
    text = text.strip()
    if len(text) > MAX_PERSONA_CHARS:
        raise PersonasUnfit(
            f"Expected a persona of at most {MAX_PERSONA_CHARS:,} characters, got {len(text):,}."
        )
    return text


def resolve_personas(options: EngineOptions) -> tuple[EngineOptions, Personas]:
    """Read the personas that the options name, and fill the options from the file's default.

    Raises:
        PersonasUnfit: when something cannot be read.
    """
    personas = load_personas(options.personas)
    default = personas.default
    given = read_persona(options.persona)
    if has_placeholder(given) or has_placeholder(options.greeting):
        personas = replace(personas, default=_with_texts(default, given, options.greeting))
    persona = read_persona(options.persona) or default.persona or ""
    closed = (CallOverrides(persona=one.persona) for one in personas.hours.values())
    requests = (default, *personas.sections.values(), *closed)
    # One call that needs PersonaPlex decides for all: there is only one model in memory.
    is_prompted = any(request.persona or needs_personaplex(request.voice or "") for request in requests)
    settled = replace(
        options,
        persona=persona,
        voice=options.voice or default.voice or "",
        greeting=default.greeting if options.greeting == SPEECH and default.greeting else options.greeting,
        model=options.model or (PERSONAPLEX_REPO if persona or is_prompted else ""),
    )
    return settled, personas


def _with_texts(default: CallOverrides, persona: str, greeting: str) -> CallOverrides:
    """Move option texts with placeholders into the default request, to be filled for each call."""
    own = CallOverrides(
        persona=persona if has_placeholder(persona) else None,
        greeting=greeting if has_placeholder(greeting) else None,
    )
    return own.or_else(default)


def _request(path: Path, name: str, table: object) -> CallOverrides:
    if not isinstance(table, dict):
        raise PersonasUnfit(f"--personas: {path}: expected [{name}] to be a section, got a value.")
    if beyond := sorted(table.keys() - {*_TEXTS, "temperature", "numbers"} - KEYS):
        raise PersonasUnfit(
            f"--personas: {path}: [{name}] has {beyond[0]!r}; "
            f"expected persona, voice, greeting, temperature, numbers, {', '.join(sorted(KEYS))}."
        )
    for key in _TEXTS:
        if not isinstance(table.get(key, ""), str):
            raise PersonasUnfit(f"--personas: {path}: expected {key} of [{name}] to be text.")
    if fault := fault_of_greeting(table.get("greeting", "")):
        raise PersonasUnfit(f"--personas: {path}: greeting of [{name}]: {fault}.")
    temperature = table.get("temperature")
    if temperature is not None and (
        isinstance(temperature, bool)  # True is an int to Python
        or not isinstance(temperature, int | float)
        or not 0 <= temperature <= MAX_TEMPERATURE
    ):
        raise PersonasUnfit(f"--personas: {path}: expected a temperature from 0 to 2 in [{name}].")
    persona = table.get("persona")
    return CallOverrides(
        # Paths are relative to the TOML file, not to the working folder.
        persona=None if persona is None else read_persona(persona, path.parent),
        voice=table.get("voice"),
        greeting=table.get("greeting"),
        temperature=None if temperature is None else float(temperature),
    )


def _hours(path: Path, name: str, table: Mapping[str, Any]) -> LineHours:
    try:
        found = read_line_hours(table)
    except HoursUnfit as unfit:
        raise PersonasUnfit(f"--personas: {path}: [{name}] {unfit}.") from unfit
    if found.transfer_to and not _NUMBER.fullmatch(found.transfer_to):
        raise PersonasUnfit(
            f"--personas: {path}: [{name}] closed_transfer_to: expected a number such as "
            f'"+15551234567", got {found.transfer_to!r}.'
        )
    if found.greeting and (fault := fault_of_greeting(found.greeting)):
        raise PersonasUnfit(f"--personas: {path}: closed_greeting of [{name}]: {fault}.")
    return (
        found if found.persona is None else replace(found, persona=read_persona(found.persona, path.parent))
    )


def _numbers(path: Path, name: str, table: Mapping[str, Any]) -> list[str]:
    numbers = table.get("numbers", [])
    given = numbers if isinstance(numbers, list) else [numbers]
    wrong = [one for one in given if not (isinstance(one, str) and _NUMBER.fullmatch(one))]
    if given is numbers and wrong and isinstance(wrong[0], str):
        raise PersonasUnfit(
            f"--personas: {path}: expected numbers of [{name}] with their country code and without spaces, "
            f'such as "+15551234567", got {wrong[0]!r}.'
        )
    if given is not numbers or wrong:
        raise PersonasUnfit(
            f'--personas: {path}: expected numbers of [{name}] as a list such as ["+15551234567"].'
        )
    # A section named by a number applies to that number.
    return [*numbers, *([name] if _NUMBER.fullmatch(name) else [])]
