"""Public URLs of workers, from a template. Pure."""

from __future__ import annotations

from string import Formatter

from moshi_phone.access.public_address import BadPublicUrl, parse_public_url
from moshi_phone.runtime.errors import UserError

_KNOWN = frozenset(("name", "host", "port"))


class BadWorkerUrl(UserError):
    """The template yields no URL, or the same one for all workers. The message is one sentence."""


def worker_name(number: int) -> str:
    """Return a worker's name in URLs, metrics and the log."""
    return f"w{number}"


def worker_url(template: str, *, name: str, host: str, port: int) -> str:
    """Fill in the template for one worker; return a URL for ``PublicAddress.base``.

    Args:
        template: a URL with ``{name}``, ``{host}`` or ``{port}`` in it.
        name: the worker's name.
        host: its machine's name.
        port: its listening port.

    Raises:
        BadWorkerUrl: when the result is not a URL.
    """
    try:
        fields = {field for _, field, _, _ in Formatter().parse(template) if field is not None}
    except ValueError as error:
        raise BadWorkerUrl(f"--worker-url {template}: {error}.") from error
    if strange := sorted(fields - _KNOWN):
        raise BadWorkerUrl(
            f"--worker-url: expected {{name}}, {{host}} or {{port}}, got {{{strange[0]}}} in {template}."
        )
    try:
        return parse_public_url(template.format(name=name, host=host, port=port))
    except BadPublicUrl as error:
        raise BadWorkerUrl(f"--worker-url: {error}.") from error


def check_worker_url(template: str) -> None:
    """Check that the template yields a different URL for each worker.

    Raises:
        BadWorkerUrl: when it yields no URL, or one for all.
    """
    one, another = (worker_url(template, name=f"w{n}", host=f"host{n}", port=5000 + n) for n in (1, 2))
    if one == another:
        raise BadWorkerUrl(
            f"--worker-url {template} is the same for all workers: put {{name}} where they differ."
        )
