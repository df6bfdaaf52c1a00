"""Options of hooks, and their validation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from moshi_phone.hooks.callers import CallerRules
from moshi_phone.hooks.http import parse_hook_url
from moshi_phone.runtime.errors import UserError


@dataclass(frozen=True)
class HookOptions:
    """Each field is a command-line option; ``metadata["help"]`` is its text in ``--help``."""

    GROUP: ClassVar = "calls"

    on_call: str | None = field(
        default=None,
        metadata={
            "help": "URL called (POST, JSON) for each incoming call; it can reject the call or set "
            "persona, voice, greeting or transfer number (docs/hooks.md).",
            "metavar": "URL",
        },
    )
    on_call_failure: Literal["accept", "reject"] = field(
        default="accept",
        metadata={
            "help": "Accept or reject a call if --on-call times out (2 s) or returns an invalid response."
        },
    )
    on_begin: str | None = field(
        default=None,
        metadata={
            "help": "URL called (POST, JSON) when a call begins; tried three times at most, within seconds.",
            "metavar": "URL",
        },
    )
    on_end: str | None = field(
        default=None,
        metadata={
            "help": "URL called (POST, JSON) after each call, including refused ones, with outcome, "
            "duration, words, metrics and files. Repeated until it answers 2xx.",
            "metavar": "URL",
        },
    )
    on_end_folder: Path = field(
        default=Path("outbox"),
        metadata={
            "group": "advanced",
            "help": "Directory for undelivered --on-end reports; they survive restarts.",
            "metavar": "DIR",
        },
    )
    hook_secret: str | None = field(
        default=None,
        repr=False,
        metadata={
            "help": "Key that signs requests to hooks (HMAC-SHA256). Set it in the environment or in .env.",
        },
    )
    allow: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Accept calls only from this number or prefix (+1555*); may be repeated.",
            "metavar": "NUMBER",
        },
    )
    deny: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Reject calls from this number or prefix (+1555*), or from hidden numbers "
            "(anonymous); may be repeated, and overrides --allow.",
            "metavar": "NUMBER",
        },
    )
    calls_per_caller_per_hour: int = field(
        default=0,
        metadata={
            "help": "Maximum number of calls an hour from one number; 0 for no limit. Hidden numbers "
            "share one limit.",
            "min": 0,
        },
    )


class HooksUnusable(UserError):
    """The hooks' configuration is unusable; the message gives the remedy."""


def check_hooks(options: HookOptions) -> None:
    """Validate the options.

    Raises:
        BadHookUrl, BadPattern, HooksUnusable: with one sentence that names the option.
    """
    CallerRules(options.allow, options.deny)
    for url, option in (
        (options.on_call, "--on-call"),
        (options.on_begin, "--on-begin"),
        (options.on_end, "--on-end"),
    ):
        if url is not None:
            parse_hook_url(url, option)
    if options.on_end:
        try:
            options.on_end_folder.mkdir(0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise HooksUnusable(
                f"--on-end-folder: {options.on_end_folder} cannot be created ({error.strerror})."
            ) from error
