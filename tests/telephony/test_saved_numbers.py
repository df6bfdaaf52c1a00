"""telephony/saved_numbers.py: notes that survive a crash, readable by their user only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from moshi_phone.telephony.rest import VoiceSettings
from moshi_phone.telephony.saved_numbers import NumberHeld, SavedNumber, SavedNumbers
from tests.support.logs import Logged

ROOT = Path(__file__).parents[2]
NOTE = SavedNumber(
    "AC1", "PN1", "+…006", VoiceSettings("https://old.example.com", "GET"), (VoiceSettings("https://a.b"),), 7
)
HOLDER = """
import sys
from pathlib import Path
from moshi_phone.telephony.saved_numbers import SavedNumbers
lock = SavedNumbers(Path(sys.argv[1])).hold("PN1")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def notes(tmp_path: Path) -> SavedNumbers:
    return SavedNumbers(tmp_path / "numbers")


def test_notes_are_written_and_read(notes: SavedNumbers) -> None:
    assert notes.read("PN1") is None
    notes.write(NOTE)
    assert notes.read("PN1") == NOTE
    assert notes.of_account("AC1") == [NOTE]
    assert notes.of_account("AC2") == []
    notes.forget("PN1")
    notes.forget("PN1")
    assert notes.of_account("AC1") == []


def test_only_this_user_can_read_them(notes: SavedNumbers, tmp_path: Path) -> None:
    notes.hold("PN1").release()
    notes.write(NOTE)
    folder = tmp_path / "numbers"
    assert oct(folder.stat().st_mode)[-3:] == "700"
    assert {oct(path.stat().st_mode)[-3:] for path in folder.iterdir()} == {"600"}
    assert "5550006" not in (folder / "PN1.json").read_text()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"before": 1, "ours": []}', '{"before": {"url": "x"}, "ours": [{}]}']
)
def test_a_damaged_note_is_ignored(notes: SavedNumbers, tmp_path: Path, text: str, logged: Logged) -> None:
    notes.write(NOTE)
    (tmp_path / "numbers" / "PN1.json").write_text(text)
    assert notes.read("PN1") is None
    assert notes.of_account("AC1") == []
    assert "PN1.json cannot be read" in logged.text


def test_one_process_at_a_time_even_after_a_crash(notes: SavedNumbers, tmp_path: Path) -> None:
    other = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", HOLDER, str(tmp_path / "numbers")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    assert notes.is_held("PN1")
    assert not notes.is_held("PN2")
    with pytest.raises(NumberHeld):
        notes.hold("PN1")
    other.kill()
    other.communicate()
    assert not notes.is_held("PN1")
    notes.hold("PN1").release()
