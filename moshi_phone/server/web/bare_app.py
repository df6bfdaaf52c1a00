"""A FastAPI app without the routes and redirects that FastAPI adds by itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI


def bare_app(title: str, **more: Any) -> FastAPI:
    """Make an app that has only the routes that are added to it.

    Args:
        title: of the app.
        more: further arguments of ``FastAPI``.
    """
    return FastAPI(
        title=title,
        docs_url=None,  # pages that load scripts from elsewhere, and tell strangers what there is to ask
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a redirect goes to whatever name the request's Host header says
        **more,
    )
