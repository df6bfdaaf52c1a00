from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants, try_to_load_from_cache

from moshi_phone.engines.moshi.checkpoint import hub
from moshi_phone.engines.moshi.checkpoint.hub import HubRepo

REPO, COMMIT, OLDER = "kyutai/moshiko-mlx-q4", "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a repo in an empty cache that is used as the hub's."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    own = try_to_load_from_cache
    monkeypatch.setattr(
        hub,
        "try_to_load_from_cache",
        lambda name, file, revision: own(name, file, cache_dir=tmp_path, revision=revision),
    )
    return tmp_path / "models--kyutai--moshiko-mlx-q4"


def keep(cache: Path, file: str, commit: str) -> Path:
    """Store a file as the hub's client does."""
    blob, link = cache / "blobs" / f"{file}-{commit}", cache / "snapshots" / commit / file
    for path in (blob, link, cache / "refs" / "main"):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_text(file)
    link.symlink_to(blob)
    (cache / "refs" / "main").write_text(commit)
    return blob


def test_cached_files_are_found_and_their_commit_is_remembered(cache: Path) -> None:
    keep(cache, "config.json", COMMIT)
    repo = HubRepo(REPO, lambda _: None)
    with pytest.raises(RuntimeError, match="expected a file of the repo before"):
        _ = repo.commit
    assert repo.cached("config.json") == cache / "snapshots" / COMMIT / "config.json"
    assert repo.commit == COMMIT
    assert repo.cached("more.json") is None


def test_all_files_are_of_one_commit(cache: Path) -> None:
    repo = HubRepo(REPO, lambda _: None)
    keep(cache, "config.json", OLDER)
    assert repo.cached("config.json") is not None
    keep(cache, "weights", COMMIT)  # another program fetches a newer one meanwhile
    assert repo.cached("weights") is None


def test_a_dangling_link_in_a_snapshot_is_not_a_file(cache: Path) -> None:
    keep(cache, "weights", COMMIT).unlink()
    assert HubRepo(REPO, lambda _: None).cached("weights") is None
