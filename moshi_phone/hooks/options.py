"""Options of hooks, and whether they can be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from moshi_phone.hooks.callers import CallerRules
from moshi_phone.hooks.http import parse_hook_url
from moshi_phone.runtime.errors import UserError


@dataclass(frozen=True)
class HookOptions:
    """Every field is an option of the command line: ``metadata["help"]`` is what ``--help`` says of it."""

    GROUP: ClassVar = "calls"

    on_call: str | None = field(
        default=None,
        metadata={
            "help": "A URL of yours that is asked, with JSON, when a call comes in; it may refuse the call, "
            "or give it a persona, a voice, a greeting or a number to transfer to (docs/hooks.md).",
            "metavar": "URL",
        },
    )
    on_call_failure: Literal["accept", "reject"] = field(
        default="accept",
        metadata={"help": "What becomes of a call when --on-call does not answer in 2 s, or not rightly."},
    )
    on_end: str | None = field(
        default=None,
        metadata={
            "help": "A URL of yours that is told, with JSON, of each call that is over: reason, duration, "
            "both sides' words, metrics, files. It is told again until it answers 2xx.",
            "metavar": "URL",
        },
    )
    on_end_folder: Path = field(
        default=Path("outbox"),
        metadata={
            "help": "Where that waits until it was taken, so that a restart loses none.",
            "metavar": "DIR",
        },
    )
    hook_secret: str | None = field(
        default=None,
        repr=False,
        metadata={
            "help": "Signs what the hooks are sent (HMAC-SHA256). Better in the environment or in .env.",
        },
    )
    allow: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Take calls from this number only, or from all that begin so (+1555*); may be given "
            "several times.",
            "metavar": "NUMBER",
        },
    )
    deny: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Take no call from this number, or from those that begin so (+1555*); may be given "
            "several times, and wins over --allow.",
            "metavar": "NUMBER",
        },
    )
    calls_per_caller_per_hour: int = field(
        default=0,
        metadata={"help": "How often one number may call within an hour; 0 for no limit.", "min": 0},
    )


class HooksUnusable(UserError):
    """The hooks cannot work like this; the text says what to set."""


def check_hooks(options: HookOptions) -> None:
    """Look at every option that can be wrong.

    Raises:
        BadHookUrl, BadPattern, HooksUnusable: in one sentence that names the option.
    """
    CallerRules(options.allow, options.deny)
    for url, option in ((options.on_call, "--on-call"), (options.on_end, "--on-end")):
        if url is not None:
            parse_hook_url(url, option)
    if options.on_end:
        try:
            options.on_end_folder.mkdir(0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise HooksUnusable(
                f"--on-end-folder: {options.on_end_folder} cannot be made ({error.strerror})."
            ) from error
