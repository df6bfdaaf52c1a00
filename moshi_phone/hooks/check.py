"""Makes sure, before anything is started, that the hooks' options can be used."""

from __future__ import annotations

from moshi_phone.hooks.callers import CallerRules
from moshi_phone.hooks.http import parse_hook_url
from moshi_phone.hooks.options import HookOptions
from moshi_phone.runtime.errors import UserError


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
