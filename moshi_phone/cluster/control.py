"""``cluster update``, ``scale`` and ``status``: the local control port and its client."""

from __future__ import annotations

from typing import Any, Literal

import aiohttp
from fastapi import Depends, FastAPI, HTTPException, Request
from loguru import logger

from moshi_phone.access.tokens import TokenRefused
from moshi_phone.cluster.cluster_auth import ClusterAuth
from moshi_phone.cluster.manager import Manager
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


MAX_WORKERS = 1000


def create_control_app(manager: Manager, auth: ClusterAuth) -> FastAPI:
    """Make the app.

    Args:
        manager: does what is asked.
        auth: lets those in who know the cluster's auth token.
    """

    def check(request: Request) -> None:
        _, _, token = request.headers.get("authorization", "").partition("Bearer ")
        try:
            auth.admit(token, CONTROL)
        except TokenRefused as error:
            logger.warning("Refused a request to the cluster: {}", error)
            raise HTTPException(403, str(error)) from error

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(check)])

    @app.get("/cluster")
    async def status() -> dict[str, Any]:
        """How many workers there are and should be."""
        return manager.status()

    @app.post("/cluster/update", status_code=202)
    async def update() -> dict[str, Any]:
        """Replace all workers and desks by new ones."""
        manager.update()
        return manager.status()

    @app.post("/cluster/scale/{workers}", status_code=202)
    async def scale(workers: int) -> dict[str, Any]:
        """Have so many workers."""
        if not 1 <= workers <= MAX_WORKERS:
            raise HTTPException(422, f"expected 1 to {MAX_WORKERS} workers, got {workers}")
        manager.scale(workers)
        return manager.status()

    return app
