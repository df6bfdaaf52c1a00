"""pyproject.toml: which packages each extra installs, and mlx's two backends, which exclude each other."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv")
pytestmark = [
    pytest.mark.skipif(UV is None, reason="needs uv"),
    pytest.mark.skipif(sys.platform != "linux", reason="a Mac has one backend"),
]


def plan(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Return what uv would install into an empty environment; the answer is text on stderr."""
    asked = subprocess.run(  # noqa: S603
        [UV or "", "sync", "--dry-run", "--frozen", *arguments],
        cwd=ROOT,
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.returncode, asked.stderr


def test_both_backends_together_are_refused(tmp_path: Path) -> None:
    code, words = plan(tmp_path, "--extra", "cuda")
    assert code != 0
    assert "incompatible with the declared conflicts" in " ".join(words.split())  # lines are broken somewhere


def test_the_readme_s_command_excludes_the_other_backend(tmp_path: Path) -> None:
    code, words = plan(tmp_path, "--extra", "cuda", UV_NO_GROUP="cpu")
    assert code == 0
    assert "+ mlx-cuda-13" in words
    assert "mlx-cpu" not in words
    # Like a plain uv run: it adds missing packages, and removes none.
    code, words = plan(tmp_path, "--inexact", UV_NO_GROUP="cpu")
    assert code == 0
    assert "+ mlx==" in words
    assert "mlx-cpu" not in words


def test_the_cpu_backend_is_the_default(tmp_path: Path) -> None:
    assert "+ mlx-cpu" in plan(tmp_path)[1]


def test_deploy_installs_what_it_runs(tmp_path: Path) -> None:
    """deploy/Dockerfile has all packages but the tests', deploy/pipecat-cloud all but Moshi's too."""
    _, container = plan(tmp_path, "--no-default-groups", "--group", "app", "--group", "cpu")
    for package in ("uvicorn", "twilio", "mlx-cpu", "rustymimi", "matplotlib"):
        assert f"+ {package}==" in container
    assert "+ pytest==" not in container
    _, cloud = plan(tmp_path, "--no-default-groups", "--extra", "server")
    assert "+ uvicorn==" in cloud
    assert "+ mlx" not in cloud


def test_the_program_is_installed_without_the_tests_tools(tmp_path: Path) -> None:
    """``uv run bot.py`` installs the default groups; ``uv run pytest`` starts with the same."""
    (_, program), (_, tests) = plan(tmp_path), plan(tmp_path, "--group", "dev")
    assert "+ pytest==" in program
    for tool in ("pytest-xdist", "mypy", "ruff", "playwright", "hypothesis", "moshi-mlx"):
        assert (f"+ {tool}==" in program, f"+ {tool}==" in tests) == (False, True)


@pytest.mark.parametrize("by_uv", [True, False])
def test_the_first_test_run_installs_its_tools(monkeypatch: pytest.MonkeyPatch, by_uv: bool) -> None:
    """conftest.py runs before options of missing plugins are parsed."""
    spec = importlib.util.spec_from_file_location("first_conftest", ROOT / "conftest.py")
    assert spec
    assert spec.loader
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    started: list[list[str]] = []
    monkeypatch.setattr(conftest, "find_spec", lambda _: None)
    monkeypatch.setattr("os.execv", lambda path, words: started.append([path, *words]))
    monkeypatch.setattr("sys.argv", ["pytest", "tests/audio", "-q"])
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/uv")
    monkeypatch.delenv("MOSHI_PHONE_TEST_TOOLS", raising=False)
    if by_uv:
        monkeypatch.setenv("UV", "/opt/uv")
    else:
        monkeypatch.delenv("UV", raising=False)
    uv = "/opt/uv" if by_uv else "/usr/bin/uv"
    conftest.pytest_addoption(None, pytest.PytestPluginManager())
    assert started == [[uv, uv, "run", "--group", "dev", "pytest", "tests/audio", "-q"]]


def test_ray_is_installed_with_its_extra_only(tmp_path: Path) -> None:
    assert "+ ray==" not in plan(tmp_path)[1]
    assert "+ ray==" in plan(tmp_path, "--extra", "ray")[1]


@pytest.mark.parametrize("python", ["cp311", "cp312", "cp313"])
@pytest.mark.parametrize("system", ["manylinux", "macosx"])
def test_the_lock_has_ray_for_every_python_on_both_systems(python: str, system: str) -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    (ray,) = [one for one in lock["package"] if one["name"] == "ray"]
    tags = [
        tag for wheel in ray["wheels"] for tag in parse_wheel_filename(wheel["url"].rpartition("/")[2])[3]
    ]
    assert [tag for tag in tags if tag.interpreter == python and tag.platform.startswith(system)]


WITHOUT_RAY = """
import importlib, pkgutil, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        assert name.partition(".")[0] != "ray", "ray is imported"

sys.meta_path.insert(0, Finder())
sys.modules.pop("ray", None)
import bot
from moshi_phone import cluster, commands
for package in (cluster, commands):
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
from click.testing import CliRunner
from moshi_phone.commands.main import cli
for command in ((), ("cluster",)):
    result = CliRunner().invoke(cli, [*command, "--help"])
    assert result.exit_code == 0, result.output
"""


@pytest.mark.slow
def test_other_commands_do_not_import_ray() -> None:
    """Runs in a separate process: here, it may already be imported."""
    subprocess.run([sys.executable, "-c", WITHOUT_RAY], cwd=ROOT, check=True)  # noqa: S603
