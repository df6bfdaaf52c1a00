"""cloudflared's command line, log lines and installation. Pure."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

BINARY = "cloudflared"
GRACE_SECS = 1  # grace period for open requests; cloudflared's default is 30, and a stream stays open

_URL = re.compile(r"https://(?P<name>[a-z0-9-]+)\.trycloudflare\.com")
_NOT_A_TUNNEL = "api"  # https://api.trycloudflare.com appears in lines about failures
_INSTALL = {
    "darwin": "brew install cloudflared",
    "win32": "winget install --id Cloudflare.cloudflared",
}
_INSTALL_LINUX = (
    "curl -fL --create-dirs -o ~/.local/bin/cloudflared https://github.com/cloudflare/cloudflared/releases/latest/download/"
    "cloudflared-linux-{arch} && chmod +x ~/.local/bin/cloudflared"
)
_PASSED_ON = frozenset(
    (
        *("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "TEMP", "TMP", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"),
        *("SYSTEMROOT", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG"),
    )
)
_LINUX_ARCHS = {"aarch64": "arm64", "arm64": "arm64", "armv7l": "arm", "i686": "386"}


def command(binary: str, port: int, metrics_port: int, empty_config: Path) -> list[str]:
    """Return the command line of a quick tunnel to a local port.

    Args:
        binary: cloudflared, or a path to it.
        port: our server's, on 127.0.0.1.
        metrics_port: for cloudflared's ``/ready``.
        empty_config: an empty file; without it, ingress rules in the user's config.yml would override the
            URL.
    """
    return [
        binary,
        "tunnel",
        "--no-autoupdate",  # an update would restart it during calls, with another URL
        "--config",
        str(empty_config),
        "--url",
        f"http://127.0.0.1:{port}",
        "--metrics",
        f"127.0.0.1:{metrics_port}",
        "--grace-period",
        f"{GRACE_SECS}s",
    ]


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the environment that cloudflared needs, without secrets.

    Args:
        ours: the whole environment.
    """
    return {
        name: value
        for name, value in ours.items()
        if name.upper() in _PASSED_ON or name.upper().startswith("TUNNEL_")
    }


def url_in(line: str) -> str | None:
    """Return the tunnel's public URL in a line of the log, or None."""
    for found in _URL.finditer(line):
        if found["name"] != _NOT_A_TUNNEL:
            return found[0]
    return None


def how_to_install(platform: str = sys.platform, machine: str = "x86_64") -> str:
    """Return the command that installs cloudflared on a kind of system.

    Args:
        platform: ``sys.platform``.
        machine: ``platform.machine()``.
    """
    fallback = _INSTALL_LINUX.format(arch=_LINUX_ARCHS.get(machine, "amd64"))
    return _INSTALL.get(platform, fallback)
