"""What ``cluster update``, ``scale`` and ``status`` ask of the cluster that runs. On loopback, by token."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from loguru import logger

from moshi_phone.access.tokens import TokenRefused
from moshi_phone.cluster.cluster_auth import ClusterAuth
from moshi_phone.cluster.control_client import CONTROL
from moshi_phone.cluster.manager import Manager

MOST_WORKERS = 1000


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
        if not 1 <= workers <= MOST_WORKERS:
            raise HTTPException(422, f"expected 1 to {MOST_WORKERS} workers, got {workers}")
        manager.scale(workers)
        return manager.status()

    return app
