"""Files and folders of calls: for their owner only, and never one file for two calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

FILE_MODE, FOLDER_MODE = 0o600, 0o700
_MOST_NAMES = 1000


def create(path: Path) -> tuple[Path, BinaryIO]:
    """Make a new file that its owner alone may read.

    Where there is one of that name, the new one is called ``NAME-2``, ``NAME-3``, …: two streams may claim
    to be the same call in the same second, and neither may overwrite what the other one said.

    Raises:
        OSError: when it cannot be made.
    """
    for number in range(1, _MOST_NAMES + 1):
        candidate = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
            return candidate, os.fdopen(os.open(candidate, flags, FILE_MODE), "wb")
        except FileExistsError:
            continue
    raise FileExistsError(17, f"{_MOST_NAMES} files of that name are there already", str(path))
