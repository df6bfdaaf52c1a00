"""Asks the cluster that runs on this machine, for ``cluster update``, ``scale`` and ``status``."""

from __future__ import annotations

from typing import Any, Literal

import aiohttp

from moshi_phone.cluster.cluster_auth import ClusterAuth
from moshi_phone.runtime.errors import UserError

CONTROL = "control"
"""Whom a token is for that lets a request in there."""
WITHIN_SECS = 10.0


class ControlError(UserError):
    """The cluster does not do what it was asked. The text is one sentence that names the remedy."""


async def ask_cluster(
    port: int, auth_token: str, method: Literal["GET", "POST"], path: str
) -> dict[str, Any]:
    """Ask, and give the cluster's status.

    Args:
        port: ``--control-port`` of the cluster, on 127.0.0.1.
        auth_token: Twilio's, which both know.
        method: of HTTP.
        path: below ``/cluster``.

    Raises:
        ControlError: when there is no cluster, or it refuses.
    """
    token = ClusterAuth.from_auth_token(auth_token).request(CONTROL)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(WITHIN_SECS)) as http,
            http.request(
                method,
                f"http://127.0.0.1:{port}/cluster{path}",
                headers={"Authorization": f"Bearer {token}"},
            ) as answer,
        ):
            told: dict[str, Any] = await answer.json()
            if answer.status >= 400:  # noqa: PLR2004 - HTTP's errors begin there
                raise ControlError(f"The cluster refuses: {told.get('detail', answer.status)}.")
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise ControlError(
            f"No cluster answers at 127.0.0.1:{port}; start one with cluster, or name its --control-port."
        ) from error
    return told
