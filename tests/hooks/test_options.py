from __future__ import annotations

from pathlib import Path

import pytest

from moshi_phone.hooks.callers import BadPattern
from moshi_phone.hooks.http import BadHookUrl
from moshi_phone.hooks.options import HookOptions, HooksUnusable, check_hooks


def test_valid_options_pass_and_the_outbox_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "outbox"
    check_hooks(HookOptions(on_end="https://example.com/end", on_end_folder=folder, allow=("+1555*",)))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_no_folder_is_created_without_a_hook(tmp_path: Path) -> None:
    check_hooks(HookOptions(on_end_folder=tmp_path / "outbox"))
    assert not (tmp_path / "outbox").exists()


def test_unusable_options_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadPattern):
        check_hooks(HookOptions(deny=("my neighbour",)))
    for options in (
        HookOptions(on_call="here"),
        HookOptions(on_end="here"),
        HookOptions(on_call="https://[::1"),
        HookOptions(on_end="https://crm.example.com:99999/"),
    ):
        with pytest.raises(BadHookUrl, match="--on-call" if options.on_call else "--on-end"):
            check_hooks(options)
    with pytest.raises(HooksUnusable, match=r"--on-end-folder: .*/file/box cannot be created"):
        check_hooks(HookOptions(on_end="https://example.com", on_end_folder=tmp_path / "file" / "box"))
