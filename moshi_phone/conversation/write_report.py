"""Writes a call's test report: ``report.md``, ``report.json`` and a picture.

``python -m moshi_phone.conversation.write_report RECORDING DIR`` does it in a separate process of the lowest
priority, so that it does not disturb a server's calls (``--review``).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from moshi_phone.conversation.report import as_json, as_markdown
from moshi_phone.conversation.review import Reviewed, review_recording
from moshi_phone.runtime.errors import UserError

PICTURE = "conversation.png"


def write_report(folder: Path, call: Reviewed) -> Path:
    """Write the report into a new folder; return the Markdown file's path.

    Raises:
        OSError: when it cannot be written.
    """
    from moshi_phone.conversation.picture import draw  # noqa: PLC0415 - loads matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    draw(folder / PICTURE, call)
    talked, criteria = call.talked, call.criteria
    path = folder / "report.md"
    path.write_text(as_markdown(call.facts, talked, criteria, picture=PICTURE), encoding="utf-8")
    report = json.dumps(as_json(call.facts, talked, criteria), indent=2)
    (folder / "report.json").write_text(report + "\n", encoding="utf-8")
    return path


def main(recording: str, folder: str) -> int:
    """Review a recording and write its report; return the exit code."""
    os.nice(19)
    os.umask(0o077)  # readable by its owner only, like the recording
    try:
        write_report(Path(folder), review_recording([Path(recording)]))
    except (UserError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
