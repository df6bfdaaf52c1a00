"""The file of personas: which section a call gets, and what the file adds to the options."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from moshi_phone.engines.choose import create_engine
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides, EngineUnavailable
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.personas import (
    NO_PERSONAS,
    Personas,
    PersonasUnfit,
    check_sections,
    load_personas,
    read_persona,
    resolve_personas,
)
from moshi_phone.engines.voices import PERSONAPLEX_REPO
from moshi_phone.testing.engine import FakeEngine

FILE = """
[default]
persona = "You are Anna."
voice = "NATF2"

[sales]
numbers = ["+15551234567"]
persona = "@sales.txt"
greeting = "Hello, this is Ben."
temperature = 0.6

["+15550000001"]
voice = "NATM1"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "sales.txt").write_text("You are Ben.\n")
    (tmp_path / "personas.toml").write_text(FILE)
    return tmp_path / "personas.toml"


def test_a_section_is_selected_by_called_number_or_caller(file: Path) -> None:
    personas = load_personas(file)
    ben = CallOverrides("You are Ben.", "NATF2", "Hello, this is Ben.", 0.6)
    assert personas.default == CallOverrides("You are Anna.", "NATF2")
    assert personas.for_call(called="+15551234567", caller="+4512345678") == ben
    assert personas.for_call(called="+15559999999", caller="+15551234567") == ben
    known = CallOverrides("You are Anna.", "NATM1")
    assert personas.for_call(called="+15551234567", caller="+15550000001") == known, "who calls comes first"
    assert personas.for_call(called="+1", caller="anonymous") == personas.default
    assert personas.names == ["sales"], "phone numbers are not for everybody's eyes"
    assert "+1555" not in repr(personas.names)


def test_a_section_is_selected_by_name_or_a_persona_by_its_text(file: Path) -> None:
    personas = load_personas(file)
    assert personas.select("sales").voice == "NATF2"
    assert personas.select("You are Eve.") == CallOverrides("You are Eve.", "NATF2")
    assert NO_PERSONAS.select("You are Eve.") == CallOverrides("You are Eve.")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[default", "is not TOML"),
        ("default = 1", r"expected \[default\] to be a section, got a value"),
        ("[a]\npersonna = 'x'", r"\[a\] has 'personna'; expected persona, voice"),
        ("[a]\nvoice = 1", r"expected voice of \[a\] to be text"),
        ("[a]\ntemperature = 3", r"expected a temperature from 0 to 2 in \[a\]"),
        ("[a]\ntemperature = true", "expected a temperature from 0 to 2"),
        ("[a]\nnumbers = '+1'", r"expected numbers of \[a\] as a list"),
        ("[a]\nnumbers = ['0155']", r"expected numbers of \[a\] with their country code .*, got '0155'"),
        (
            "[a]\nnumbers = ['+15551234567']\n[b]\nnumbers = ['+15551234567']",
            r"of \[b\] is in another",
        ),
        ("['a b']\nvoice = 'x'", "section names are letters"),
        ("[a]\npersona = '@none.txt'", r"The persona's file .*none\.txt cannot be read \(No such file"),
    ],
)
def test_errors_of_the_file_are_reported(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "personas.toml").write_text(text)
    with pytest.raises(PersonasUnfit, match=complaint) as caught:
        load_personas(tmp_path / "personas.toml")
    assert "\n" not in str(caught.value)


def test_errors_of_a_persona_are_reported(tmp_path: Path) -> None:
    assert read_persona("  You are Anna. ") == "You are Anna."
    with pytest.raises(PersonasUnfit, match="Expected a persona of at most 8,000 characters, got 8,001"):
        read_persona("a" * 8001)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PersonasUnfit, match="is not UTF-8 text"):
        read_persona(f"@{tmp_path / 'binary'}")
    with pytest.raises(PersonasUnfit, match="cannot be read"):
        load_personas(tmp_path / "none.toml")


def test_the_file_s_default_fills_unset_options(file: Path) -> None:
    settled, _ = resolve_personas(EngineOptions(personas=file))
    assert (settled.persona, settled.voice, settled.greeting) == ("You are Anna.", "NATF2", "speech")
    assert settled.model == PERSONAPLEX_REPO
    given = EngineOptions(personas=file, persona="You are Eve.", voice="VARM0", greeting="none", model="x/y")
    assert resolve_personas(given)[0] == given
    assert resolve_personas(settled)[0] == settled, "twice is once"
    plain = EngineOptions()
    assert resolve_personas(plain) == (plain, NO_PERSONAS)
    file.write_text("[a]\npersona = 'You are Ben.'")
    assert resolve_personas(replace(plain, personas=file))[0].model == PERSONAPLEX_REPO


async def test_a_section_that_the_engine_does_not_support_is_named() -> None:
    engine = FakeEngine()
    check_sections(Personas(sections={"a": NO_OVERRIDES}), engine)
    with pytest.raises(PersonasUnfit, match=r"--personas: \[b\]: The engine fake takes no voice for a call"):
        check_sections(Personas(sections={"a": NO_OVERRIDES, "b": CallOverrides(voice="NATF2")}), engine)


def test_the_parrot_takes_no_persona() -> None:
    with pytest.raises(EngineUnavailable, match="The parrot takes no persona; leave out --persona"):
        create_engine(EngineOptions(engine="parrot", persona="You are Anna."))


HOURS = """
[default]
persona = "You are Anna. It is {weekday}, {now}."
hours = "Mon-Fri 08:00-17:00"
timezone = "Europe/Berlin"
closed = ["2026-12-24/2027-01-01"]
when_closed = "message"

[emergency]
numbers = ["+15550000003"]
when_closed = "transfer"
closed_transfer_to = "+15559990000"

[sales]
numbers = ["+15550000002"]
hours = "Sat 10:00-12:00"
when_closed = "persona"
closed_persona = "You say that the shop is closed."
"""


def test_hours_of_a_section_inherit_from_the_default(tmp_path: Path) -> None:
    (tmp_path / "personas.toml").write_text(HOURS)
    personas = load_personas(tmp_path / "personas.toml")
    monday, saturday = (datetime(2026, 11, day, 10, 30, tzinfo=UTC) for day in (30, 28))
    default = personas.hours_of(called="+15550000001", caller="+15551234567")
    assert (default.hours.is_open(monday), default.hours.is_open(saturday)) == (True, False)
    assert default.when_closed == "message"
    emergency = personas.hours_of(called="+15550000003", caller="+15551234567")
    assert (emergency.hours, emergency.when_closed) == (default.hours, "transfer")
    assert emergency.transfer_to == "+15559990000"
    sales = personas.hours_of_section("sales")
    assert (sales.hours.is_open(monday), sales.hours.is_open(saturday)) == (False, True)
    assert sales.persona == "You say that the shop is closed."
    assert "+1555" not in repr(emergency)


def test_placeholders_use_the_configured_time_zone(tmp_path: Path) -> None:
    (tmp_path / "personas.toml").write_text(HOURS)
    personas = load_personas(tmp_path / "personas.toml")
    night = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)  # in Berlin it is Tuesday
    assert personas.filled(CallOverrides(), None, night, "").persona == (
        "You are Anna. It is Tuesday, 2026-12-01 00:30."
    )
    own = CallOverrides(persona="You are Ben, and it is {now}.")
    assert personas.filled(own, "sales", night, "").persona == "You are Ben, and it is 2026-12-01 00:30."


def test_placeholders_of_the_command_line_s_persona_are_filled() -> None:
    settled, personas = resolve_personas(EngineOptions(persona="It is {weekday}."))
    assert settled.persona == "It is {weekday}."
    monday = datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert personas.filled(CallOverrides(), None, monday, "").persona == "It is Monday."
    _, plain = resolve_personas(EngineOptions(persona="You are Anna."))
    assert plain.filled(CallOverrides(), None, monday, "") == CallOverrides()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('hours = "always"', r"\[a\] hours: expected hours such as"),
        ("hours = 8", r"\[a\] hours: expected text in quotes, got 8"),
        ('hours = "Mon 8:00-9:00"\ntimezone = "Berlin"', r"\[a\] timezone: expected a time zone such as"),
        ('closed = "2026-12-24"', r"\[a\] closed: expected a list such as"),
        ('closed = ["24.12."]', r"\[a\] closed: expected a day such as"),
        (
            'hours = "Mon 8:00-9:00"\nwhen_closed = "sleep"',
            r"when_closed: expected persona, transfer, say, mess",
        ),
        ('closed_say = "Closed."', r"\[a\] closed_say: expected hours beside it"),
        (
            'hours = "Mon 8:00-9:00"\nclosed_transfer_to = "112"',
            r"closed_transfer_to: expected a number such",
        ),
        ('hours = "Mon 8:00-9:00"\nclosed_greeting = "🙂"', r"closed_greeting of \[a\]: expected words"),
    ],
)
def test_invalid_hours_are_reported(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "personas.toml").write_text(f"[a]\n{text}\n")
    with pytest.raises(PersonasUnfit, match=complaint):
        load_personas(tmp_path / "personas.toml")
