"""runtime/cloudflared.py: its log, its command line, its installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from moshi_phone.runtime.cloudflared import command, environment, how_to_install, url_in
from tests.fakes.cloudflared import API_ERROR, BANNER


def test_the_url_is_parsed_from_its_log() -> None:
    line = "2026-01-01T00:00:01Z INF |  https://a-b-c-d.trycloudflare.com                      |"
    assert url_in(line) == "https://a-b-c-d.trycloudflare.com"
    assert url_in(API_ERROR) is None
    assert url_in(API_ERROR + " " + line) == "https://a-b-c-d.trycloudflare.com"
    assert not any(url_in(line) for line in BANNER)


def test_its_command_line() -> None:
    assert " ".join(command("cloudflared", 5001, 6001, Path("empty.yml"))) == (
        "cloudflared tunnel --no-autoupdate --config empty.yml --url http://127.0.0.1:5001 "
        "--metrics 127.0.0.1:6001 --grace-period 1s"
    )


@pytest.mark.parametrize(
    ("platform", "machine", "words"),
    [
        ("darwin", "arm64", "brew install cloudflared"),
        ("win32", "AMD64", "winget install --id Cloudflare.cloudflared"),
        ("linux", "x86_64", "cloudflared-linux-amd64 &&"),
        ("linux", "aarch64", "cloudflared-linux-arm64 &&"),
    ],
)
def test_the_remedy_is_to_install_it(platform: str, machine: str, words: str) -> None:
    assert words in how_to_install(platform, machine)


def test_its_environment_contains_no_secrets() -> None:
    ours = {
        "PATH": "/bin",
        "HOME": "/home/a",
        "https_proxy": "http://proxy:1",
        "TUNNEL_TRANSPORT_PROTOCOL": "http2",
        "TWILIO_AUTH_TOKEN": "f" * 32,
        "HF_TOKEN": "hf_secret",
        "MOSHI_WEB_PASSWORD": "password",
        "OPENAI_API_KEY": "sk-secret",
    }
    assert environment(ours) == {
        name: ours[name] for name in ("PATH", "HOME", "https_proxy", "TUNNEL_TRANSPORT_PROTOCOL")
    }
