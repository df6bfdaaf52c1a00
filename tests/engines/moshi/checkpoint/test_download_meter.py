"""engines/moshi/checkpoint/download_meter.py: a line every few percent, with the remaining time."""

from __future__ import annotations

import io

from moshi_phone.engines.moshi.checkpoint.download_meter import DownloadMeter, MeteredFile

GB = 1_000_000_000


def test_reports_progress_every_three_percent() -> None:
    meter = DownloadMeter("model.q4.safetensors", int(4.8 * GB), 0, 100.0)
    lines = [meter.line(int(done * 0.01 * GB), 100.0 + done) for done in range(1, 481)]
    said = [line for line in lines if line]
    assert 30 <= len(said) <= 34
    assert said[0] == "Fetching model.q4.safetensors: 0.1 of 4.8 GB, 8 minutes left."  # 10 MB a second
    assert said[-1].endswith("4.7 of 4.8 GB, less than a minute left.")
    assert lines[-1] is None, "that it is whole is not a line of the meter's"


def test_earlier_downloaded_bytes_do_not_count_for_the_speed() -> None:
    meter = DownloadMeter("m", 2 * GB, GB, 0.0)
    assert meter.line(int(1.1 * GB), 100.0) == "Fetching m: 1.1 of 2.0 GB, 15 minutes left."
    assert meter.line(int(1.2 * GB), 100_000.0) == "Fetching m: 1.2 of 2.0 GB, 111 hours left."
    assert DownloadMeter("m", 2 * GB, GB, 0.0).line(0, 1.0) == "Fetching m: 0.0 of 2.0 GB."  # begun once more
    assert DownloadMeter("m", 200_000_000, 0, 0.0).line(100_000_000, 90.0) == (
        "Fetching m: 100 of 200 MB, 2 minutes left."
    )


def test_small_files_are_not_reported() -> None:
    meter = DownloadMeter("tokenizer.model", 800_000, 0, 0.0)
    assert [meter.line(done, done / 1000) for done in range(0, 800_000, 100_000)] == [None] * 8


def test_writing_a_file_reports_progress() -> None:
    said = list[str]()
    with io.BytesIO() as raw:
        file = MeteredFile(raw, DownloadMeter("m", 100_000_000, 0, 0.0), said.append, lambda: 1.0)
        assert file.write(b"x" * 50_000_000) == file.tell() == 50_000_000
        file.truncate(0)
        file.seek(0)
        assert raw.getvalue() == b""
    assert said == ["Fetching m: 50 of 100 MB, less than a minute left."]
