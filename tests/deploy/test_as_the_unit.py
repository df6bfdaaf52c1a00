"""The program as systemd starts the unit: its command, another user, a read-only disk, one state folder."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.test_kept_files import uncommented
from tests.deploy.test_names import ROOT, unit
from tests.fakes.twilio_api import FakeTwilioApi
from tests.support.program import program

USER = 65534  # nobody
# In a separate mount namespace, which ends with the program. $1 is this repository, $2 the tests' virtual
# environment, $3 the interpreter's own folder, which may be in a home that others cannot enter, $4 the state.
SCRIPT = """
set -eu
repository=$1 environment=$2 interpreter=$3 state=$4; shift 4
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/python /mnt/state
mount --bind "$interpreter" /mnt/python
mount --bind "$state" /mnt/state
mount -t tmpfs -o mode=755 tmpfs /opt
mkdir -p /opt/moshi-phone
mount --bind "$repository" /opt/moshi-phone
mount --bind "$environment" /opt/moshi-phone/.venv
for folder in /root /home /tmp /var/lib /var/cache; do  # ProtectHome, PrivateTmp, and what is another's
    mount -t tmpfs -o mode=755 tmpfs "$folder"
done
chmod 1777 /tmp
mkdir -p "$interpreter" /var/lib/moshi-phone /var/cache/moshi-phone
mount --bind /mnt/python "$interpreter"
mount --bind /mnt/state /var/lib/moshi-phone
chown USER:USER /var/lib/moshi-phone /var/cache/moshi-phone
# ProtectSystem=strict
for point in /mnt/python "$interpreter" /opt/moshi-phone/.venv /opt/moshi-phone /opt /mnt /; do
    mount -o remount,bind,ro "$point"
done
if touch /opt/moshi-phone/written 2>/dev/null; then echo "the disk is not read-only"; exit 99; fi
umask 0077
cd /var/lib/moshi-phone
exec setpriv --reuid=USER --regid=USER --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
    env -i "$@"
""".replace("USER", str(USER))


def unable() -> str | None:
    """The reason why the unit cannot be imitated here, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root, to run as another user"
    if not all(map(shutil.which, ("unshare", "setpriv"))):
        return "needs unshare and setpriv (Debian's package util-linux)"
    tried = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if subprocess.run(tried, capture_output=True, check=False).returncode:  # noqa: S603
        return "needs leave to mount, which this container does not have"
    if Path(sys.prefix) != ROOT / ".venv" and not (ROOT / ".venv").is_dir():
        return "needs the folder .venv, over which the environment of the tests is mounted"
    return None


def as_the_unit(environment: dict[str, str], state: Path) -> list[str]:
    """Return the arguments of ``unshare`` that run the unit's own command."""
    places = {"%S": "/var/lib", "%C": "/var/cache"}
    variables = dict(one.partition("=")[::2] for one in unit()["Environment"].split()) | environment
    for place, path in places.items():
        variables = {name: value.replace(place, path) for name, value in variables.items()}
    assert unit()["WorkingDirectory"].replace("%S", places["%S"]) == "/var/lib/moshi-phone"
    home = {"HOME": "/", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"}
    folders = [str(ROOT), sys.prefix, sys.base_prefix, str(state)]
    words = [f"{name}={value}" for name, value in (home | variables).items()]
    options = ["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "unit"]
    return [*options, *folders, *words, *unit()["ExecStart"].split()]


@pytest.mark.slow
async def test_it_runs_as_another_user_on_a_read_only_disk(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    """With every line of .env.example; it stores files in the state folder only, readable by its user."""
    if why := unable():
        pytest.skip(why)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    arguments = as_the_unit(uncommented(twilio), state)
    async with program(environment={}, python=arguments, interpreter="unshare") as run:
        await run.says("rings here now")
        status = Path(f"/proc/{run.pid}/status").read_text()  # noqa: ASYNC240
        assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}" in status
        assert "CapEff:\t0000000000000000" in status
        run.signal(signal.SIGTERM)
        assert await run.ends() == 0, run.said
    assert "Read-only" not in run.said
    assert "Permission" not in run.said
    made = {path.name: path.stat() for path in state.iterdir()}
    assert {"recordings", "transcripts", "messages", "outbox", "calls.db"} <= made.keys()
    assert {one.st_uid for one in made.values()} == {USER}
    assert all(stat.S_IMODE(one.st_mode) & 0o077 == 0 for one in made.values()), made
    assert not twilio.number["voice_url"]
