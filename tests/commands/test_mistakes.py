"""Users' first mistakes: each is reported in one sentence, with its remedy and without a traceback.

More of serve's options are in test_serve_refusals.py, and moments of Ctrl-C in test_main.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from moshi_phone.commands.main import cli
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER
from tests.support.logs import log_put_back

ACCOUNT = {"TWILIO_ACCOUNT_SID": ACCOUNT_SID, "TWILIO_AUTH_TOKEN": AUTH_TOKEN}
PARROT = ("--engine", "parrot", "--port", "0")


@dataclass(frozen=True)
class Mistake:
    """What a user types, and the words of the error.

    Attributes:
        typed: the arguments of ``uv run bot.py``; ``{}`` stands for the folder.
        told: a part of the expected sentence.
        files: the folder's files, by name.
        environment: all of the environment.
    """

    typed: str
    told: str
    files: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def personas(text: str) -> dict[str, str]:
    return {"p.toml": text}


MISTAKES = [
    # Names.
    Mistake("srve", "There is no command 'srve'; did you mean serve?"),
    Mistake("fly", "There is no command 'fly'; there are serve, cluster, dial"),
    Mistake("--prot 5001", "No such option '--prot'. (Did you mean"),
    Mistake("-t twilio", "uv run --extra runner bot.py runner -t twilio"),
    Mistake("--engine mosh", "--engine: expected auto, moshi, parrot, remote or MODULE:CLASS, got 'mosh'"),
    Mistake("--engine nothing:Engine", "--engine"),
    Mistake("--pipeline pipelines.line_mirror", "--pipeline: expected MODULE:NAME"),
    Mistake("--pipeline pipelines.line_mirror:mirror", "--pipeline"),
    Mistake("--quantize 5", "'5' is not one of"),
    Mistake("--log-level loud", "'loud' is not one of"),
    Mistake("--transfer-key 12", "'12' is not one of"),
    # Numbers.
    Mistake("--port high", "expected a whole number from 0 to 65535, got 'high'"),
    Mistake("--port 70000", "expected a whole number from 0 to 65535, got 70000"),
    Mistake("--calls 0", "expected a whole number of 1 or more or auto, got 0"),
    Mistake("--calls 2.5", "expected a whole number of 1 or more or auto, got '2.5'"),
    Mistake("--parrot-delay minus", "expected a number from 0 to 10, got 'minus'"),
    Mistake("--call-limit-secs 0", "expected a number of 1 or more, got 0"),
    Mistake("--message-secs 9999", "expected a whole number from 5 to 600, got 9999"),
    Mistake("estimate --lines none", "expected a whole number from 1 to 1000, got 'none'"),
    Mistake("--transfer-to 5559990000", "--transfer-to: expected a phone number with its country code"),
    Mistake("--fallback-to me", "--fallback-to: expected a phone number with its country code"),
    Mistake("--allow 5551234567", "--allow: expected a number such as +15551234567, or +1555*"),
    Mistake(
        "dial 5551234567",
        "expected a phone number with its country code",
        environment=ACCOUNT | {"TWILIO_NUMBER": NUMBER},
    ),
    Mistake("dial +15551234567", "--from or TWILIO_NUMBER", environment=ACCOUNT),
    Mistake("dial", "Missing argument 'NUMBER'"),
    # Credentials and URLs.
    Mistake("--tunnel", "--tunnel opens this server to everybody: set TWILIO_AUTH_TOKEN"),
    Mistake("--host 0.0.0.0", "--host 0.0.0.0 opens this server to everybody"),
    Mistake("--public-url https://a.com/twiml", "expected a public URL without /twiml", environment=ACCOUNT),
    Mistake(
        "--public-url http://a.com",
        "expected a public URL such as https://phone.example.com",
        environment=ACCOUNT,
    ),
    Mistake("--public-url a.com --tunnel", "--public-url (PUBLIC_URL)", environment=ACCOUNT),
    Mistake(
        "--number +15550000001 --public-url a.com",
        "--number needs TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN",
        environment={"TWILIO_AUTH_TOKEN": AUTH_TOKEN},
    ),
    Mistake(
        "--web",
        "TWILIO_AUTH_TOKEN: expected 32 hexadecimal digits",
        environment={"TWILIO_AUTH_TOKEN": "secret"},
    ),
    Mistake(
        "--web",
        "TWILIO_ACCOUNT_SID: expected AC and 32 hexadecimal digits",
        environment={"TWILIO_ACCOUNT_SID": "mine"},
    ),
    Mistake("--on-end crm.example.com", "--on-end: expected a URL such as https://crm.example.com/calls"),
    Mistake("--server gpu-1", "--server: expected a URL like ws://gpu-1:8998"),
    # Files.
    Mistake("--engine moshi --model ./weights", "There is no folder ./weights; --model takes a folder"),
    Mistake("--engine moshi --model ~/weights", "There is no folder ~/weights"),
    Mistake("--engine moshi --model /weights", "There is no folder /weights"),
    Mistake(
        "--engine moshi --model {}/w.safetensors",
        "is a file; --model takes the folder that it is in",
        {"w.safetensors": ""},
    ),
    Mistake("--config {}/none.toml", "cannot be read (No such file or directory)"),
    Mistake(
        "--config {}/c.toml", "[phone] is a section, and this file has none", {"c.toml": "[phone]\nport = 1"}
    ),
    Mistake("--config {}/c.toml", "there is no option prot; did you mean port?", {"c.toml": "prot = 1"}),
    Mistake("--config {}/c.toml", "is not TOML", {"c.toml": "port: 1"}),
    Mistake("--persona @{}/none.txt", "The persona's file"),
    Mistake("--personas {}/none.toml", "cannot be read (No such file or directory)"),
    Mistake("--personas {}/p.toml", "got '5551234567'", personas('[a]\nnumbers = ["5551234567"]')),
    Mistake("--personas {}/p.toml", "hours: expected hours such as", personas('[a]\nhours = "9 to 5"')),
    Mistake(
        "--personas {}/p.toml",
        "needs --fallback-record DIR",
        personas('[a]\nhours = "Mon 9:00-10:00"\nwhen_closed = "message"'),
    ),
    Mistake("--record {}/file/here", "Cannot write to", {"file": ""}),
    Mistake(
        "--calls-db {}/notes.txt", "is no database of calls; name another file", {"notes.txt": "x" * 5000}
    ),
    # What does not go together.
    Mistake("--transfer-key 0", "--transfer-key and --transfer-phrase need --transfer-to"),
    Mistake("--transfer-phrase help --transfer-to +15559990000", "need --listen"),
    Mistake("--engine parrot --persona Anna", "The parrot takes no persona"),
    Mistake("--engine parrot --greeting Hello", "The parrot cannot say given words"),
    Mistake("--engine parrot --listen", "The parrot cannot listen for words"),
    Mistake("--greeting 🙂", "which nobody can say"),
    Mistake("--review", "--review needs --record DIR"),
]


def test_all_known_mistakes_are_covered() -> None:
    assert len(MISTAKES) >= 47


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.typed[:40])
def test_each_mistake_is_reported_in_one_sentence(mistake: Mistake, tmp_path: Path) -> None:
    for name, text in mistake.files.items():
        (tmp_path / name).write_text(text)
    typed = [word.replace("{}", str(tmp_path)) for word in mistake.typed.split()]
    own = {"PATH": os.environ["PATH"], "MOSHI_PORT": "0"}  # another test may have the usual port
    environment = {**dict.fromkeys(os.environ), **own, **mistake.environment}
    with log_put_back():
        told = CliRunner(env=environment).invoke(cli, typed, obj=lambda: None)
    assert told.exit_code in (1, 2), told.output
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    assert "Traceback" not in told.output
    *_, sentence = told.output.partition("Error: ")
    words = " ".join(sentence.split())
    assert mistake.told in words, told.output
    assert len(words) < 400
