"""The memory available to this process: the machine's, or a container's limit."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of version 2, and of version 1


def machine_memory_bytes(cgroup: Path = _CGROUP) -> int:
    """Return the smaller of the machine's memory and the container's limit.

    Args:
        cgroup: the folder of Linux's control groups.
    """
    total_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_read_bytes(cgroup / name) for name in _LIMITS]
    return min(total_bytes, *(limit for limit in limits if limit is not None), total_bytes)


def _read_bytes(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no limit, or "max"
        return None
