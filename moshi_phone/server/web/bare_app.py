"""A FastAPI app without the routes and redirects that FastAPI adds by itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI


def bare_app(title: str, **more: Any) -> FastAPI:
    """Create an app that has only the routes added to it.

    Args:
        title: of the app.
        more: further arguments of ``FastAPI``.
    """
    return FastAPI(
        title=title,
        docs_url=None,  # these pages load scripts from other sites, and list every route to strangers
        redoc_url=None,
        openapi_url=None,  # the same list as JSON
        redirect_slashes=False,  # a redirect would go to the host named in the request's Host header
        **more,
    )
