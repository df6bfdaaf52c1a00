"""``bench``, ``rehearse`` and ``doctor`` with remote servers, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from moshi_phone.commands.main import cli
from tests.fakes.moshi_behaviour import Behaviour
from tests.fakes.moshi_server import moshi_server_beside

SPEED = {"first_audio", "delay", "drift", "gaps", "keeps_up", "quality"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


@pytest.mark.slow
def test_bench_measures_servers_and_names_their_share() -> None:
    with moshi_server_beside(Behaviour(step_s=0.01)) as one, moshi_server_beside() as two:
        result = run("bench", "--server", one.url, "--server", two.url, "--calls", "2", "--frames", "25")
        name = one.url.removeprefix("ws://")
        assert f"Server {name} (Kyutai's Python server): it answers." in result.output
        for stage in ("opus", "wire", "server", "answer"):
            assert f"\n{stage} " in result.output
        last = result.output.splitlines()[-1]
        assert last.startswith("Verdict: ")
        assert result.exit_code == (0 if "Verdict: keeps up" in last else 1)
        if result.exit_code == 0:
            assert "in the server" in last
            assert "on the wire" in last
            assert "in Opus" in last
        assert [len(server.visits) for server in (one, two)] == [1, 1]


@pytest.mark.slow
def test_bench_reports_a_server_that_is_too_slow() -> None:
    with moshi_server_beside(Behaviour(step_s=0.3)) as server:
        result = run("bench", "--engine", "remote", "--server", server.url, "--frames", "25")
        assert result.exit_code == 1
        assert "Verdict: does not keep up with 1 call" in result.output


def test_bench_of_more_calls_than_servers() -> None:
    with moshi_server_beside() as server:
        result = run("bench", "--engine", "remote", "--server", server.url, "--calls", "2")
        assert result.exit_code == 2
        assert "All servers that answer are at capacity." in result.output


def test_bench_of_a_server_that_dies() -> None:
    with moshi_server_beside(Behaviour(dies="talk")) as server:
        result = run("bench", "--engine", "remote", "--server", server.url, "--frames", "25")
        assert result.exit_code == 2
        assert f"Server {server.url.removeprefix('ws://')} closed the connection" in result.output


@pytest.mark.timed
@pytest.mark.parametrize("swallows", [0, 1])
def test_a_call_through_a_server_passes_rehearsal(tmp_path: Path, swallows: int) -> None:
    with moshi_server_beside(Behaviour(swallows=swallows)) as server:
        result = run(
            *("rehearse", "--engine", "remote", "--server", server.url, "--secs", "8"),
            *("--server-token", "s3cret-token", "--report", str(tmp_path)),
        )
    report = json.loads((tmp_path / "report.json").read_text())
    doubtful = {point["key"]: point["passed"] for point in report["points"] if point["passed"] is not True}
    assert doubtful.keys() <= SPEED  # on a machine that is not busy: none
    assert result.exit_code == (1 if False in doubtful.values() else 0), result.output
    name = server.url.removeprefix("ws://")
    assert f"Of the processing, by {name}, p50: " in result.output
    assert report["options"]["server_kind"] == "kyutai"
    assert "s3cret-token" not in (tmp_path / "report.json").read_text() + result.output


def test_doctor_checks_each_server() -> None:
    with moshi_server_beside() as there, moshi_server_beside(Behaviour("rust", token="t")) as closed:
        options = ["--server", there.url, "--server", f"{closed.url}#rust"]
        result = run("doctor", "--json", "--port", "0", *options)
        checks = [one for one in json.loads(result.output)["checks"] if one["name"] == "server"]
        names = [server.url.removeprefix("ws://") for server in (there, closed)]
        assert checks[0]["state"] == "ok"
        assert checks[0]["found"] == f"{names[0]} is there (Kyutai's Python server)"
        assert checks[1]["state"] == "fail"
        assert checks[1]["found"] == (
            f"Server {names[1]} refuses access (HTTP 401); --server-token sets the token"
        )
        assert there.visits == []  # no model was woken for this


def test_doctor_requires_no_model_with_remote_servers() -> None:
    result = run("doctor", "--json", "--port", "0", "--engine", "remote")
    checks = {one["name"]: one for one in json.loads(result.output)["checks"]}
    assert checks["server"]["found"].startswith("--engine remote needs a server")
    assert checks["weights"]["found"] == "not needed for servers elsewhere"
    assert checks["accelerator"]["state"] == "note"


def test_servers_may_be_in_the_settings_file(tmp_path: Path) -> None:
    with moshi_server_beside() as one, moshi_server_beside() as two:
        settings = tmp_path / "moshi.toml"
        settings.write_text(f'engine = "remote"\nserver = ["{one.url}", "{two.url}"]\n')
        settings.chmod(0o600)  # or a warning comes before the JSON
        result = run("doctor", "--json", "--port", "0", "--config", str(settings))
        checks = [one for one in json.loads(result.output)["checks"] if one["name"] == "server"]
        assert [check["state"] for check in checks] == ["ok", "ok"]
