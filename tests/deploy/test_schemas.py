"""Files for containers and clusters against their schemas and linters (pyproject.toml's group ``deploy``)."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from pipecat.runner.types import WebSocketRunnerArguments

from tests.deploy.test_names import DEPLOY, manifest, manifests

pytestmark = pytest.mark.extra
DOCKERFILES = ("Dockerfile", "moshi-server.Dockerfile", "pipecat-cloud/Dockerfile")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - tools, and files of ours
        command, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing_in_a_dockerfile(name: str) -> None:
    verdict = run(str(Path(sys.executable).with_name("hadolint")), str(DEPLOY / name))
    assert (verdict.returncode, verdict.stdout) == (0, "")


def test_compose_follows_its_specification() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schemas = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(
        yaml.safe_load((DEPLOY / "compose.yaml").read_text()), json.loads(schemas.read_text())
    )


OURS = [one for one in manifests() if one["apiVersion"] != "keda.sh/v1alpha1"]


@pytest.mark.parametrize("found", OURS, ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
def test_a_manifest_follows_kubernetes_schema(found: dict[str, object]) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    kubernetes_validate.validate(found, "1.34", strict=True)


def test_an_invalid_manifest_is_detected() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    wrong = manifest("Service")
    wrong["spec"]["ports"][0]["prot"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.34", strict=True)


def test_pipecat_cloud_s_own_reader_accepts_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    config = pytest.importorskip("pipecatcloud.cli.config")
    deploy_utils = pytest.importorskip("pipecatcloud._utils.deploy_utils")
    monkeypatch.setattr(config, "deploy_config_path", str(DEPLOY / "pipecat-cloud" / "pcc-deploy.toml"))
    read = deploy_utils.load_deploy_config_file()
    assert read is not None
    assert (DEPLOY.parent / read.build_config.dockerfile).samefile(DEPLOY / "pipecat-cloud" / "Dockerfile")
    assert read.max_session_duration == 4 * 3600


def test_bot_accepts_pipecat_cloud_s_arguments() -> None:
    """Its base image calls ``bot()`` with its own arguments; ours requires a WebSocket's."""
    agent = pytest.importorskip("pipecatcloud.agent")
    assert issubclass(agent.WebSocketSessionArguments, WebSocketRunnerArguments)
