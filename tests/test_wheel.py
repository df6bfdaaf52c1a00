"""The wheel: built, installed beside a project with packages of the same names, and called."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hatch_build import rewritten
from moshi_phone.runtime.ports import free_port
from tests.support.phone import Phone
from tests.support.program import ROOT, program

UV = shutil.which("uv") or ""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not UV, reason="needs uv")]
# What each distribution is imported as, where that is not its name.
IMPORTED_AS = {
    "huggingface-hub": "huggingface_hub",
    "pipecat-ai": "pipecat",
    "prometheus-client": "prometheus_client",
    "python-dotenv": "dotenv",
    "python-multipart": "python_multipart",
    "pywebrtc-audio": "pywebrtc_audio",
}
STAGES = ("audio", "engines/duplex.py", "engines/parrot.py", "pipelines", "processors", "records", "testing")


def uv(*arguments: str, cwd: Path) -> None:
    """Run uv, and show its output if it fails."""
    done = subprocess.run([UV, *arguments], cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's wheel, as uv and pip build it."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--wheel", "--quiet", "--out-dir", str(folder), cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


def modules(wheel: Path) -> Iterator[tuple[str, ast.Module]]:
    """Each of its modules, parsed."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".py"):
                yield name, ast.parse(archive.read(name))


def imports(module: ast.Module) -> set[str]:
    """Return the top-level names of its external imports."""
    names = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"moshi_phone"}


def declared(*extras: str) -> set[str]:
    """Return the declared dependencies, by import name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in extras for line in project["optional-dependencies"][extra]),
    ]
    return {IMPORTED_AS.get(name := Requirement(line).name, name) for line in lines}


def test_it_holds_one_package_and_nothing_generic_beside_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names} == {
        "moshi_phone",
        f"{wheel.name.split('-py3')[0]}.dist-info",
    }
    for name in (
        "processors/moshi.py",
        "pipelines/phone_call.py",
        "testing/clock.py",
        "web/index.html",
        "bot.py",
    ):
        assert f"moshi_phone/{name}" in names
    assert (
        sum(name.endswith(("LICENSE", "LICENSE.mlx-examples")) and "/licenses/" in name for name in names)
        == 3
    )


def test_all_imports_are_declared(wheel: Path) -> None:
    everything = declared("server", "moshi", "rehearse", "runner", "ray")
    for name, module in modules(wheel):
        assert imports(module) <= everything, name


def test_the_stages_need_the_base_packages_only(wheel: Path) -> None:
    base = declared()
    for name, module in modules(wheel):
        if name.removeprefix("moshi_phone/").startswith(STAGES):
            assert imports(module) <= base, name


def test_an_import_that_cannot_be_rewritten_stops_the_build() -> None:
    assert (
        rewritten("from processors.moshi import X\n", "a.py")
        == "from moshi_phone.processors.moshi import X\n"
    )
    assert (
        rewritten("    import pipelines.taps as taps\n", "a.py")
        == "    import moshi_phone.pipelines.taps as taps\n"
    )
    assert rewritten('x = "pipelines.taps:make"\n', "a.py") == 'x = "moshi_phone.pipelines.taps:make"\n'
    assert rewritten("from my.processors import X\n", "a.py") == "from my.processors import X\n"
    with pytest.raises(ValueError, match=r"a\.py: expected 'from … import …'"):
        rewritten("import processors.moshi\n", "a.py")


def test_every_extra_resolves_without_overrides(wheel: Path, tmp_path: Path) -> None:
    """moshi_mlx 0.3.0 cannot be installed together with pipecat 1.14, so no extra names it."""
    for extras in ("server,moshi,rehearse,runner,webrtc,ray,cpu", "server,moshi,cuda"):
        wanted = tmp_path / "wanted.txt"
        wanted.write_text(f"moshi-phone[{extras}] @ {wheel.as_uri()}\n")
        uv(
            "pip",
            "compile",
            "--quiet",
            "--no-config",
            str(wanted),
            cwd=tmp_path,
        )


async def test_the_stages_answer_a_call_in_another_app(wheel: Path, tmp_path: Path) -> None:
    for name in ("server", "processors", "pipelines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('MINE = "mine"\n')
    # The example of docs/pipecat.md, in a project that has installed the package.
    app_text = rewritten((ROOT / "examples" / "own_app.py").read_text(), "own_app.py")
    (tmp_path / "own_app.py").write_text(
        f"{app_text}\nimport server, processors\nassert (server.MINE, processors.MINE) == ('mine', 'mine')\n"
    )
    python = environment(tmp_path, f"moshi-phone @ {wheel.as_uri()}", "uvicorn", "websockets")
    port = free_port()
    uvicorn = ["-m", "uvicorn", "own_app:app", "--port"]
    async with program(
        str(port), environment={}, python=uvicorn, folder=str(tmp_path), interpreter=python
    ) as app:
        await app.says("Uvicorn running")
        await hears_somebody(f"127.0.0.1:{port}")
    assert "Traceback" not in app.said


@pytest.mark.usefixtures("tiny_checkpoint")
async def test_the_installed_program_answers_with_moshi(
    wheel: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    backend = ",cpu" if sys.platform == "linux" else ""
    python = environment(tmp_path, f"moshi-phone[server,moshi{backend}] @ {wheel.as_uri()}")
    port = free_port()
    arguments = ["--engine", "moshi", "--model", str(tiny_checkpoint), "--port", str(port)]
    module = ["-m", "moshi_phone.bot"]
    async with program(
        *arguments,
        environment={"MOSHI_GREETING_FRAMES": "3"},
        python=module,
        folder=str(tmp_path),
        interpreter=python,
    ) as bot:
        await bot.says("Answering calls")
        await hears_somebody(f"127.0.0.1:{port}")
    assert "Traceback" not in bot.said


def environment(folder: Path, *packages: str) -> str:
    """Create an environment with these packages; return its interpreter."""
    uv("venv", "--quiet", "--no-config", "--python", sys.executable, str(folder / "env"), cwd=folder)
    python = str(folder / "env" / "bin" / "python")
    uv("pip", "install", "--quiet", "--no-config", "--python", python, *packages, cwd=folder)
    return python


async def hears_somebody(address: str) -> None:
    """Call, and check for audio that is not silence."""
    async with Phone.calling(address) as phone:
        await phone.say(bytes([0x10, 0x90] * 80), times=16)
        assert len(set(await phone.listen(frames=2))) > 10
        await phone.send({"event": "stop"})
