"""Every option, variable, path and figure in a file of deploy/ exists in the program."""

from __future__ import annotations

import plistlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from dockerfile_parse import DockerfileParser

from moshi_phone.commands.main import COMMANDS, cli
from moshi_phone.server.options import ServerOptions

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILES = sorted(
    one for one in DEPLOY.rglob("*") if one.is_file() and one.suffix not in (".json", ".cfg", ".template")
)
VARIABLE = re.compile(r"\b(?:MOSHI|TWILIO)_[A-Z_]+[A-Z]\b|\bPUBLIC_URL\b")
DOCKERFILES = {
    "Dockerfile": "deploy/Dockerfile.dockerignore",
    "pipecat-cloud/Dockerfile": None,
}
TO_END_SECS = 5  # what the process takes to end after --drain-secs (server/calls/draining.py)


def command(name: str) -> click.Command:
    with click.Context(cli) as context:
        found = cli.get_command(context, name)
    assert found is not None
    return found


def variables() -> set[str]:
    """Return all environment variables that an option reads."""
    known: set[str] = set()
    for name in COMMANDS:
        for parameter in command(name).params:
            known |= {parameter.envvar} if isinstance(parameter.envvar, str) else set(parameter.envvar or ())
    return known


def manifests() -> Iterator[dict[str, Any]]:
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


def manifest(kind: str, name: str = "moshi-phone") -> dict[str, Any]:
    (found,) = (one for one in manifests() if one["kind"] == kind and one["metadata"]["name"] == name)
    return found


def unit() -> dict[str, str]:
    """Return the service's settings; the values of repeated ones are joined."""
    found = dict[str, str]()
    for line in (DEPLOY / "moshi-phone.service").read_text().splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found[name] = f"{found[name]} {value}" if name in found else value
    return found


def plist() -> dict[str, Any]:
    found: dict[str, Any] = plistlib.loads((DEPLOY / "phone.moshi.plist").read_bytes())
    return found


def parses(arguments: list[str]) -> None:
    """Check that ``serve`` accepts these arguments."""
    with click.Context(cli) as parent:
        command("serve").make_context("serve", arguments, parent=parent)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_variable_is_an_option_s(path: Path) -> None:
    assert set(VARIABLE.findall(path.read_text())) <= variables()


def test_the_files_that_set_something_name_variables() -> None:
    naming = {path.name for path in FILES if VARIABLE.search(path.read_text())}
    assert naming >= {
        "Dockerfile", "compose.yaml", "moshi-phone.service", "moshi-phone.yaml", "pcc-deploy.toml"
    }  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_option_in_a_text_exists(path: Path) -> None:
    known = {option for name in COMMANDS for one in command(name).params for option in one.opts}
    for line in path.read_text().splitlines():
        if "bot.py" in line:
            asked = re.findall(r"(?<![\w-])--[a-z-]+", line.split("bot.py", 1)[1])
            assert set(asked) <= known, line


def test_the_program_accepts_its_start_arguments() -> None:
    assert shlex.split(unit()["ExecStart"])[1] == "/opt/moshi-phone/bot.py"
    parses(shlex.split(unit()["ExecStart"])[2:])
    assert plist()["ProgramArguments"][1] == "bot.py"
    parses(plist()["ProgramArguments"][2:])
    (container,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    parses(container["args"])
    entry = DockerfileParser(str(DEPLOY / "Dockerfile")).structure[-1]
    assert (entry["instruction"], entry["value"]) == ("ENTRYPOINT", '["python", "/app/bot.py"]')


class TestDockerfiles:
    @pytest.mark.parametrize("name", DOCKERFILES)
    def test_copied_paths_exist_and_contain_all_imports(self, name: str) -> None:
        copied: set[str] = set()
        for step in DockerfileParser(str(DEPLOY / name)).structure:
            words = step["value"].split()
            if step["instruction"] == "COPY" and not words[0].startswith("--from"):
                copied |= set(words[:-1])
        assert all((ROOT / one).exists() for one in copied)
        packages = {
            path.name
            for path in ROOT.iterdir()
            if path.is_dir() and not path.name.startswith((".", "_")) and any(path.rglob("*.py"))
        }
        not_shipped = {"benchmarks", "docs", "examples", "report", "tests"}
        assert copied >= (packages - not_shipped) | {"bot.py"}

    def test_copied_paths_are_not_ignored(self) -> None:
        kept = {
            line[1:]
            for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
            if line.startswith("!")
        }
        steps = DockerfileParser(str(DEPLOY / "Dockerfile")).structure
        copied: set[str] = set()
        for step in steps:
            words = step["value"].split()
            if step["instruction"] == "COPY" and not words[0].startswith("--from"):
                copied |= set(words[:-1])
        assert copied == kept

    @pytest.mark.parametrize("name", ["Dockerfile", "moshi-server.Dockerfile"])
    def test_images_run_as_a_user_and_check_health(self, name: str) -> None:
        steps = DockerfileParser(str(DEPLOY / name)).structure
        users = [step["value"] for step in steps if step["instruction"] == "USER"]
        assert users[-1] == "10001:10001"
        (health,) = [step["value"] for step in steps if step["instruction"] == "HEALTHCHECK"]
        assert name != "Dockerfile" or "/healthz" in health

    @pytest.mark.parametrize("name", ["Dockerfile", "moshi-server.Dockerfile", "pipecat-cloud/Dockerfile"])
    def test_the_health_check_s_python_compiles(self, name: str) -> None:
        for step in DockerfileParser(str(DEPLOY / name)).structure:
            if step["instruction"] == "HEALTHCHECK":
                code = yaml.safe_load(step["value"].split("CMD ", 1)[1])[2]  # JSON's list is YAML's, too
                compile(code, name, "exec")


class TestTimeToEnd:
    """Each supervisor waits longer for the program's end than calls may last."""

    def test_systemd(self) -> None:
        drain_secs = float(re.findall(r"MOSHI_DRAIN_SECS=(\d+)", unit()["Environment"])[0])
        assert float(unit()["TimeoutStopSec"]) > drain_secs + TO_END_SECS

    def test_launchd(self) -> None:
        drain_secs = float(plist()["ProgramArguments"][-1])
        assert plist()["ExitTimeOut"] > drain_secs + TO_END_SECS

    def test_compose(self) -> None:
        phone = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["phone"]
        drain_secs = float(phone["environment"]["MOSHI_DRAIN_SECS"])
        assert float(phone["stop_grace_period"].removesuffix("s")) > drain_secs + TO_END_SECS

    def test_kubernetes(self) -> None:
        pod = manifest("Deployment")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        environment = {one["name"]: one.get("value") for one in container["env"]}
        before_secs = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
        needed_secs = before_secs + float(environment["MOSHI_DRAIN_SECS"]) + TO_END_SECS
        assert pod["terminationGracePeriodSeconds"] > needed_secs
        proxy = manifest("Deployment", "moshi-phone-proxy")["spec"]["template"]["spec"]
        assert proxy["terminationGracePeriodSeconds"] >= 3600

    def test_the_comment_of_docker_run_knows_the_default(self) -> None:
        timeout = re.findall(r"--stop-timeout (\d+)", (DEPLOY / "Dockerfile").read_text())
        assert float(timeout[0]) > ServerOptions().drain_secs + TO_END_SECS
