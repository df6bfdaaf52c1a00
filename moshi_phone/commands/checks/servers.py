"""Checks of the servers of ``--engine remote``."""

from __future__ import annotations

import asyncio

from moshi_phone.commands.checks.check import Check
from moshi_phone.engines.choose import create_engine, uses_backends
from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.options import EngineOptions


async def check_servers(options: EngineOptions) -> list[Check]:
    """Check that each configured server answers, one line each."""
    if not uses_backends(options):
        return []
    from moshi_phone.engines.remote.connection import Access, make_tls, probe  # noqa: PLC0415 - only servers need it
    from moshi_phone.engines.remote.server import Server, parse_server  # noqa: PLC0415

    async def look(server: Server) -> Check:
        error = await probe(server, Access(remote.server_token, tls))
        if error is None:
            return Check("server", "ok", f"{server.name} is there ({server.profile.title})")
        return Check("server", "fail", error, "start it, or correct --server")

    remote = options.remote
    try:
        create_engine(options)  # validates the options, before any server is asked
        servers = [parse_server(given, remote.server_kind) for given in remote.server]
        encrypted = any(server.is_encrypted for server in servers)
        tls = make_tls(remote.server_ca, insecure=remote.server_insecure) if encrypted else None
    except EngineUnavailable as error:
        return [Check("server", "fail", str(error))]
    return list(await asyncio.gather(*(look(server) for server in servers)))
