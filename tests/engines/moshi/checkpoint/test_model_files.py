"""checkpoint/model_files.py: one procedure for every model's files; a copy of it had other remedies."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi.checkpoint.hub import HubRepo
from moshi_phone.engines.moshi.checkpoint.model_files import NOT_THIS, ModelFiles, Unfit


def files(given: str = "", *, ours: str = "") -> ModelFiles:
    return ModelFiles(
        given, "--listen-model", lambda: "a/default", "an/example", "get it", lambda path: path.name == ours
    )


class Hub:
    """A repo whose file is damaged in the cache, and on the hub too unless it was fetched again."""

    name = "some/repo"

    def __init__(self, *, differs: bool) -> None:
        self.differs = differs
        self.fetched: list[str] = []

    def fetch_if_different(self, file: str) -> bool:
        self.fetched.append(file)
        return self.differs

    def read(self) -> str:
        if not self.fetched:
            raise Unfit(Path("model.bin"), "it is cut short", is_damaged=True)
        return "whole"


def read_repo(hub: Hub, *, repair: bool) -> str:
    return files().read_repo(cast(HubRepo, hub), hub.read, hub.read, repair=repair)


def test_a_damaged_file_is_fetched_again_only_on_request() -> None:
    with pytest.raises(EngineUnavailable, match=r"it is cut short; run 'get it' to fetch it again\."):
        read_repo(hub := Hub(differs=True), repair=False)
    assert hub.fetched == []
    assert read_repo(hub, repair=True) == "whole"
    assert hub.fetched == ["model.bin"]


def test_a_file_damaged_on_the_hub_is_fetched_once() -> None:
    with pytest.raises(EngineUnavailable, match="some/repo holds it like this, try another --listen-model"):
        read_repo(hub := Hub(differs=False), repair=True)
    assert hub.fetched == ["model.bin"]


def test_a_damaged_converted_file_is_recreated_once(tmp_path: Path) -> None:
    (made := tmp_path / "converted.bin").touch()
    tries = 0

    def read() -> str:
        nonlocal tries
        tries += 1
        raise Unfit(made, "it is cut short", is_damaged=True)

    with pytest.raises(EngineUnavailable, match="cut short; copy it there again"):
        files(ours="converted.bin").read_folder(read)
    assert (tries, made.exists()) == (2, False)


def test_a_converted_file_that_cannot_be_deleted_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlink(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    def read() -> str:
        raise Unfit(tmp_path / "converted.bin", "it is cut short", is_damaged=True)

    monkeypatch.setattr(Path, "unlink", unlink)
    hub = cast(HubRepo, Hub(differs=False))
    with pytest.raises(
        EngineUnavailable, match=r"cannot be deleted \(Permission denied\): delete it, or set"
    ):
        files(ours="converted.bin").read_repo(hub, read, read, repair=False)


def test_an_intact_file_of_another_model_is_not_fetched_again(tmp_path: Path) -> None:
    def read() -> str:
        raise Unfit(tmp_path / "model.bin", "expected a model that listens", is_damaged=False)

    with pytest.raises(EngineUnavailable, match=NOT_THIS):
        files().read_folder(read)
    with pytest.raises(EngineUnavailable, match=NOT_THIS):
        files().read_cached(read)


def test_a_name_is_a_folder_a_repo_or_an_error(tmp_path: Path) -> None:
    assert files(str(tmp_path)).folder == tmp_path
    assert (files().folder, files().repo, files("b/other").repo) == (None, "a/default", "b/other")
    (tmp_path / "model.bin").touch()
    with pytest.raises(EngineUnavailable, match="is a file; --listen-model takes the folder"):
        assert files(str(tmp_path / "model.bin")).repo
    with pytest.raises(EngineUnavailable, match=r"There is no folder \./nothing; .* such as an/example"):
        assert files("./nothing").repo
    with pytest.raises(EngineUnavailable, match="leave out --listen-model for an/example"):
        files(str(tmp_path)).required(tmp_path, "tokenizer.model")
