"""records/file_writer.py: a slow disk blocks no call, and the queue is bounded."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import wave
from pathlib import Path
from typing import BinaryIO

import pytest

from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.testing.engine import FakeEngine
from tests.support.logs import Logged
from tests.support.phone import Phone, serving, start_message

ROOT = Path(__file__).parents[2]
LOUD = bytes([0x20, 0xA0]) * 80


class TextSink:
    """A minimal sink."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Disk:
    """A disk that stalls until it is released."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.stalled = threading.Event()

    def sink(self, file: BinaryIO) -> TextSink:
        disk = self

        class Stalling(TextSink):
            def write(self, data: bytes) -> None:
                disk.stalled.set()
                assert disk.goes_on.wait(30)
                super().write(data)

        return Stalling(file)


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_pieces_of_many_files_are_written_in_order(tmp_path: Path) -> None:
    writer = FileWriter()
    files = [writer.open(tmp_path / f"{k}.txt", TextSink, "file") for k in range(5)]
    for piece in range(100):
        for file in files:
            file.write(b"%d " % piece)
    for file in files:
        file.close()
        file.write(b"more")
        file.close()
    assert writer.flush(5)
    expected = "".join(f"{piece} " for piece in range(100))
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == [expected] * 5


def test_a_stalled_disk_blocks_no_call_and_loses_nothing(tmp_path: Path, disk: Disk) -> None:
    writer = FileWriter()
    slow = writer.open(tmp_path / "slow.txt", disk.sink, "file")
    for _ in range(100):
        slow.write(b"x")
    assert disk.stalled.wait(5)
    slow.close()
    assert not writer.flush(0)
    disk.goes_on.set()
    assert writer.flush(5)
    assert slow.path.read_text() == "x" * 100


def test_the_queue_is_bounded_and_a_file_above_the_limit_ends_complete(
    tmp_path: Path, disk: Disk, logged: Logged
) -> None:
    writer = FileWriter(max_waiting_bytes=100_000)
    first = writer.open(tmp_path / "first.txt", disk.sink, "recording")
    for _ in range(1000):
        first.write(b"y" * 1000)
    assert disk.stalled.wait(5)
    late = writer.open(tmp_path / "late.txt", TextSink, "recording")
    late.write(b"z" * 100_000)
    first.close()
    late.close()
    assert writer._waiting_bytes < 102_000
    disk.goes_on.set()
    assert writer.flush(5)
    written = first.path.stat().st_size
    assert 60_000 < written < 100_000
    assert written % 1000 == 0
    assert not (tmp_path / "late.txt").exists()
    assert logged.text.count("ends here: the disk is too slow") == 2
    again = writer.open(tmp_path / "again.txt", TextSink, "recording")
    again.write(b"a")
    again.close()
    assert writer.flush(5)
    assert (tmp_path / "again.txt").read_text() == "a"


def test_many_small_pieces_are_bounded_too(tmp_path: Path, disk: Disk) -> None:
    writer = FileWriter(max_waiting_bytes=100_000)
    file = writer.open(tmp_path / "words.txt", disk.sink, "transcript")
    for _ in range(1000):
        file.write(b"")
    assert len(writer._jobs) < 200
    disk.goes_on.set()
    assert writer.flush(5)


def test_a_file_that_cannot_be_created_is_logged_once_and_does_not_affect_others(
    tmp_path: Path, logged: Logged
) -> None:
    writer = FileWriter()
    nowhere = writer.open(tmp_path / "gone" / "a.txt", TextSink, "transcript")
    fine = writer.open(tmp_path / "b.txt", TextSink, "transcript")
    for file in (nowhere, fine, nowhere, fine):
        file.write(b"a")
    assert writer.flush(5)
    assert fine.path.read_text() == "aa"
    assert logged.text.count("ends here: [Errno 2]") == 1


def test_files_are_private_and_never_shared(tmp_path: Path) -> None:
    writer = FileWriter()
    files = [writer.open(tmp_path / "call.txt", TextSink, "file") for _ in range(3)]
    for number, file in enumerate(files):
        file.write(b"%d" % number)
        file.close()
    assert writer.flush(5)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "call.txt": "0",
        "call-2.txt": "1",
        "call-3.txt": "2",
    }
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.slow
async def test_a_call_continues_and_ends_while_its_recording_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the event loop wrote recordings, it stalled with the disk, and every call with it."""
    goes_on = threading.Event()
    writes = wave.Wave_write.writeframes

    def stalling(wav: wave.Wave_write, data: bytes) -> None:
        assert threading.current_thread() is not threading.main_thread(), "written on the event loop"
        assert goes_on.wait(30)
        writes(wav, data)

    monkeypatch.setattr(wave.Wave_write, "writeframes", stalling)
    line = ServerState(FakeEngine(), Settings(taps=TapOptions(record=tmp_path)))
    async with serving(line) as address:
        for _ in range(2):
            async with Phone.calling(address, start_message(call_sid="CA" + "3" * 32)) as phone:
                await phone.say(LOUD, times=60)
                await phone.listen(10)
        await line.calls.wait_until_idle()
        assert line.calls.served == 2
        goes_on.set()
    assert len(await asyncio.to_thread(os.listdir, tmp_path)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("stalled_s", "written"), [(0.3, "all of it"), (1_000_000, "")])
def test_the_end_of_the_process_waits_for_the_disk_for_a_limited_time(
    tmp_path: Path, stalled_s: float, written: str
) -> None:
    script = f"""
import time
from pathlib import Path
from moshi_phone.records.file_writer import FileWriter

class Slow:
    def __init__(self, file):
        self.file = file
    def write(self, data):
        time.sleep({stalled_s})
        self.file.write(data)
    def close(self):
        self.file.close()

file = FileWriter().open(Path({str(tmp_path / "call.txt")!r}), Slow, "file")
file.write(b"all of it")
file.close()
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)  # noqa: S603
    assert (tmp_path / "call.txt").read_text() == written


def test_a_full_disk_leaves_no_empty_file(tmp_path: Path, logged: Logged) -> None:
    """An empty WAV used to remain, and --on-end named it."""

    class FullDisk:
        def __init__(self, file: BinaryIO) -> None:
            self._file = file

        def write(self, data: bytes) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            self._file.close()

    writer = FileWriter()
    file = writer.open(tmp_path / "call.wav", FullDisk, "recording")
    file.write(b"x")
    file.close()
    assert writer.flush(5)
    assert list(tmp_path.iterdir()) == []
    assert file.is_lost
    assert "No space left" in logged.text


def test_an_existing_file_of_the_same_name_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(b"another stream of the call")

    def create(_: Path) -> tuple[Path, BinaryIO]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("moshi_phone.records.private_files.create", create)
    writer = FileWriter()
    file = writer.open(path, TextSink, "recording")
    file.write(b"\0\0\0\0")
    file.close()
    assert writer.flush(5)
    assert file.is_lost
    assert path.read_bytes() == b"another stream of the call"
