from __future__ import annotations

import resource
import subprocess
import sys

from tests.support.program import ROOT


def test_the_limit_is_raised_to_the_hard_one() -> None:
    """macOS starts with 256, which many waiting connections would use up."""
    code = (
        "import resource as r; hard = r.getrlimit(r.RLIMIT_NOFILE)[1];"
        "r.setrlimit(r.RLIMIT_NOFILE, (256, hard));"
        "from moshi_phone.runtime.open_files import raise_limit; given = raise_limit();"
        "print(given, r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    said = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert said[0] == said[1]
    assert int(said[0]) > 256 or hard == 256
