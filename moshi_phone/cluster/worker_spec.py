"""The specification of a worker, and the settings of its server."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace

from moshi_phone.cluster.worker_url import worker_url
from moshi_phone.server.settings import Settings


@dataclass(frozen=True)
class WorkerSpec:
    """The specification of a worker.

    Attributes:
        name: w1, w2, ….
        settings: the cluster's settings. They contain secrets: never log this object.
        port: listening port; 0 picks a free one.
        url_template: template of its public URL, for ``worker_url``; None with a tunnel or without a URL.
    """

    name: str
    settings: Settings
    port: int = 0
    url_template: str | None = None

    def own_settings(self, port: int) -> Settings:
        """Return the cluster's settings, adapted to this worker. Called on its machine, for the host's name.

        Args:
            port: the port on which it listens.
        """
        template, host = self.url_template, socket.gethostname()
        url = worker_url(template, name=self.name, host=host, port=port) if template else None
        given = self.settings
        return replace(
            given,
            server=replace(given.server, port=port),
            web=replace(given.web, admin_port=None),  # the gateway serves it
            reach=replace(given.reach, public_url=url),
            hooks=replace(
                given.hooks,
                # The gateway has applied these rules already.
                allow=(),
                deny=(),
                calls_per_caller_per_hour=0,
                # A shared folder would deliver each report twice.
                on_end_folder=given.hooks.on_end_folder / self.name,
            ),
        )
