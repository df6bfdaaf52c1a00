"""The local control port for ``cluster update``, ``scale`` and ``status``, and its client."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any, Literal

import aiohttp
from fastapi import Depends, FastAPI, HTTPException, Request
from loguru import logger

from moshi_phone.access.tokens import StreamTokens, TokenRefused
from moshi_phone.cluster.manager import Manager
from moshi_phone.runtime.errors import UserError
from moshi_phone.server.web.bare_app import bare_app

WITHIN_SECS = 10.0
_RECEIVER = "control"
_PURPOSE = b"moshi-phone cluster token 1"
_KEPT_SPENT_S = 600.0  # spent tokens are remembered for longer than their lifetime of a minute


class ControlAuth:
    """Creates and checks the control port's tokens. Other users of the machine can reach the port, too.

    Args:
        auth_token: Twilio's auth token, known to the command and the cluster.
    """

    def __init__(self, auth_token: str) -> None:
        # A derived key: a token for a stream is never valid here.
        key = hmac.digest(auth_token.encode(), _PURPOSE, hashlib.sha256)
        self._tokens = StreamTokens(key, kept_spent_s=_KEPT_SPENT_S)

    def token(self) -> str:
        """Create a token for one request."""
        return self._tokens.mint(_RECEIVER, time.time())

    def check(self, token: str) -> None:
        """Accept a token once.

        Raises:
            TokenRefused: with the reason.
        """
        self._tokens.spend(token, _RECEIVER, time.time())


class ControlError(UserError):
    """The cluster does not answer, or refuses. The message is one sentence with the remedy."""


async def ask_cluster(
    port: int, auth_token: str, method: Literal["GET", "POST"], path: str
) -> dict[str, Any]:
    """Send a request to a running cluster, and return its status.

    Args:
        port: the cluster's ``--control-port``, on 127.0.0.1.
        auth_token: Twilio's auth token, the shared secret.
        method: the HTTP method.
        path: below ``/cluster``.

    Raises:
        ControlError: when no cluster answers, or it refuses.
    """
    token = ControlAuth(auth_token).token()
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(WITHIN_SECS)) as http,
            http.request(
                method,
                f"http://127.0.0.1:{port}/cluster{path}",
                headers={"Authorization": f"Bearer {token}"},
            ) as answer,
        ):
            status: dict[str, Any] = await answer.json()
            if answer.status >= 400:  # noqa: PLR2004 - HTTP's errors begin there
                raise ControlError(f"The cluster refuses: {status.get('detail', answer.status)}.")
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise ControlError(
            f"No cluster answers at 127.0.0.1:{port}; start one with cluster, or name its --control-port."
        ) from error
    return status


MAX_WORKERS = 1000


def create_control_app(manager: Manager, auth: ControlAuth) -> FastAPI:
    """Create the control app.

    Args:
        manager: executes the requests.
        auth: accepts clients that know the cluster's auth token.
    """

    def check(request: Request) -> None:
        _, _, token = request.headers.get("authorization", "").partition("Bearer ")
        try:
            auth.check(token)
        except TokenRefused as error:
            logger.warning("Refused a request to the cluster: {}", error)
            raise HTTPException(403, str(error)) from error

    app = bare_app("Moshi on the phone: control", dependencies=[Depends(check)])

    @app.get("/cluster")
    async def status() -> dict[str, Any]:
        """Return the workers and their requested number."""
        return manager.status()

    @app.post("/cluster/update", status_code=202)
    async def update() -> dict[str, Any]:
        """Replace all workers and gateways with new ones."""
        manager.update()
        return manager.status()

    @app.post("/cluster/scale/{workers}", status_code=202)
    async def scale(workers: int) -> dict[str, Any]:
        """Set the number of workers."""
        if not 1 <= workers <= MAX_WORKERS:
            raise HTTPException(422, f"expected 1 to {MAX_WORKERS} workers, got {workers}")
        manager.scale(workers)
        return manager.status()

    return app
