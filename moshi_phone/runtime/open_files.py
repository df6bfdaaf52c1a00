"""The limit on open files and sockets, raised to the system's maximum."""

from __future__ import annotations

_ENOUGH = 65_536
_MACOS_MAX = 10_240  # OPEN_MAX: the maximum of macOS, whose hard limit is unlimited


def raise_limit() -> int:
    """Raise the limit to the hard one, and return it; macOS starts with 256."""
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ModuleNotFoundError:
        return _ENOUGH
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (_ENOUGH, _MACOS_MAX):
        aim = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft != resource.RLIM_INFINITY and aim > soft:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (aim, hard))
            # On macOS, setrlimit refuses values above OPEN_MAX: the next one is tried.
            except (OSError, ValueError):
                continue
            return aim
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft
