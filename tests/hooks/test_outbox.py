from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from aiohttp import web

from moshi_phone.hooks import outbox as module
from moshi_phone.hooks.http import Hook
from moshi_phone.hooks.outbox import Outbox
from tests.fakes.hook import hook, says
from tests.support.logs import Logged
from tests.support.waiting import until


class Pauses:
    """Does not wait, and records the requested pauses."""

    def __init__(self) -> None:
        self.secs: list[float] = []

    async def __call__(self, secs: float) -> None:
        self.secs.append(secs)
        await asyncio.sleep(0)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def of(call: int) -> dict[str, object]:
    return {"call_sid": f"CA{call}", "ended_at": f"2026-11-21T16:00:0{call}Z", "words": "Grüezi"}


async def test_a_report_is_delivered_once_and_removed(tmp_path: Path) -> None:
    async with hook(says(status=204)) as fake:
        box = Outbox(Hook(fake.url, "whsec"), tmp_path / "out")
        box.start()
        await box.add(of(1))
        await box.add(of(2))
        await box.stop()
    assert [told["call_sid"] for told in fake.told] == ["CA1", "CA2"]
    assert fake.told[0]["words"] == "Grüezi"
    assert len({told["id"] for told in fake.told}) == 2
    assert files(tmp_path / "out") == []


async def test_delivery_is_retried_with_growing_pauses(tmp_path: Path) -> None:
    answers = iter([500, 503, 200])
    pauses = Pauses()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=next(answers))

    async with hook(answer) as fake:
        box = Outbox(Hook(fake.url), tmp_path, pauses)
        box.start()
        await box.add(of(1))
        await box.stop()
    assert len(fake.told) == 3
    assert {told["id"] for told in fake.told} == {fake.told[0]["id"]}
    assert pauses.secs == [1.0, 5.0]


async def test_a_restart_loses_no_report(tmp_path: Path) -> None:
    first = Outbox(Hook("http://127.0.0.1:9/hook"), tmp_path)
    first.start()
    await first.add(of(1))
    await first.add(of(2))
    await first.stop(patience_secs=0.05)
    kept = files(tmp_path)
    assert len(kept) == 2
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
    async with hook(says()) as fake:
        second = Outbox(Hook(fake.url), tmp_path)
        second.start()
        await second.stop()
    assert [told["call_sid"] for told in fake.told] == ["CA1", "CA2"]
    assert files(tmp_path) == []


async def test_a_report_that_the_hook_rejects_does_not_block_the_others(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=400 if (await request.json())["call_sid"] == "CA1" else 200)

    async with hook(answer) as fake:
        box = Outbox(Hook(fake.url), tmp_path, Pauses())
        await asyncio.to_thread(box._write, {"id": "1", **of(1)})
        await asyncio.to_thread(box._write, {"id": "2", **of(2)})
        box.start()
        await box.stop(patience_secs=0.2)
    assert "CA2" in {told["call_sid"] for told in fake.told}
    assert [path.name.endswith("-1.json") for path in files(tmp_path)] == [True]


async def test_unreadable_reports_are_set_aside(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    async with hook(says()) as fake:
        box = Outbox(Hook(fake.url), tmp_path)
        box.start()
        await box.add(of(1))
        await box.stop()
    assert len(fake.told) == 1
    assert [path.name for path in files(tmp_path)] == ["a.bad"]


@pytest.mark.parametrize(
    "fault",
    [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT],
)
async def test_a_temporarily_unreadable_report_is_delivered_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int, logged: Logged
) -> None:
    read, faults = Path.read_text, iter([fault, fault])

    def read_or_fail(path: Path, encoding: str | None = None) -> str:
        if number := next(faults, None):
            raise OSError(number, os.strerror(number))
        return read(path, encoding)

    async with hook(says()) as fake:
        box = Outbox(Hook(fake.url), tmp_path, Pauses())
        for call in (1, 2, 3):
            await asyncio.to_thread(box._write, {"id": str(call), **of(call)})
        monkeypatch.setattr(Path, "read_text", read_or_fail)
        box.start()
        await box.stop()
    assert {told["call_sid"] for told in fake.told} == {"CA1", "CA2", "CA3"}
    assert files(tmp_path) == []
    assert "--on-end reports that cannot be read for now: 2, " in logged.text


async def test_a_permanently_unreadable_report_does_not_block_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("a.json")  # a loop: ELOOP for ever
    (tmp_path / "b.json").mkdir()
    async with hook(says()) as fake:
        box = Outbox(Hook(fake.url), tmp_path, Pauses())
        await asyncio.to_thread(box._write, {"id": "1", **of(1)})
        box.start()
        await until(lambda: fake.told)
        await box.stop(patience_secs=0.05)
    assert [told["call_sid"] for told in fake.told] == ["CA1"]
    assert [path.name for path in files(tmp_path)] == ["a.json", "b.json"]


async def test_a_full_disk_leaves_no_partial_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with hook(says()) as fake:
        box = Outbox(Hook(fake.url), tmp_path)
        box.start()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            await box.add(of(1))
        assert files(tmp_path) == []
        await box.add(of(2))
        await box.stop()
    assert "Cannot queue an --on-end report" in logged.text
    assert [told["call_sid"] for told in fake.told] == ["CA2"]


async def test_after_a_crash_partial_reports_are_removed_and_complete_ones_delivered(tmp_path: Path) -> None:
    (tmp_path / "2026-1.part").write_text('{"id": "1", "from": "+15551')
    (tmp_path / "2026-2.part").write_text("")
    (tmp_path / "2026-3.part").write_text('{"id": "3", "call_sid": "CA3"}')
    async with hook(says()) as fake:
        box = Outbox(Hook(fake.url), tmp_path)
        box.start()
        await box.stop()
    assert [told["call_sid"] for told in fake.told] == ["CA3"]
    assert files(tmp_path) == []


async def test_a_disk_that_fails_once_does_not_end_the_sending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink, faults = Path.unlink, iter([OSError("Read-only file system")])

    def unlink_or_fail(path: Path, missing_ok: bool = False) -> None:
        if fault := next(faults, None):
            raise fault
        unlink(path, missing_ok)

    async with hook(says()) as fake:
        box = Outbox(Hook(fake.url), tmp_path, Pauses())
        box.start()
        monkeypatch.setattr(Path, "unlink", unlink_or_fail)
        await box.add(of(1))
        await box.add(of(2))
        await box.stop()
    assert {told["call_sid"] for told in fake.told} == {"CA1", "CA2"}
    assert files(tmp_path) == []


async def test_a_removed_report_does_not_stop_delivery(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        if (await request.json())["call_sid"] == "CA1":
            second.unlink()
        return web.Response()

    async with hook(answer) as fake:
        box = Outbox(Hook(fake.url), tmp_path, Pauses())
        for call in (1, 2):
            await asyncio.to_thread(box._write, {"id": str(call), **of(call)})
        second = files(tmp_path)[1]
        box.start()
        await until(lambda: files(tmp_path) == [])
        await box.add(of(3))
        await box.stop()
    assert [told["call_sid"] for told in fake.told] == ["CA1", "CA3"]


async def test_a_report_that_cannot_be_set_aside_does_not_stop_delivery(
    tmp_path: Path, logged: Logged
) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "a.bad").mkdir()  # in its way
    async with hook(says()) as fake:
        box = Outbox(Hook(fake.url), tmp_path, pauses := Pauses())
        box.start()
        await until(lambda: pauses.secs)  # tried again, but not without a pause
        await box.add(of(1))
        await until(lambda: fake.told)
        await box.stop(patience_secs=0.05)
    assert "a.json: it can be neither read nor renamed" in logged.text


async def test_the_folder_is_bounded_and_drops_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 2)
    box = Outbox(Hook("http://127.0.0.1:9/hook"), tmp_path)
    for call in (1, 2, 3):
        await asyncio.to_thread(box._write, {"id": str(call), **of(call)})
    assert sorted(path.name[-6] for path in files(tmp_path)) == ["2", "3"]
