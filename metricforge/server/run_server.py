"""Serves an index until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable

import uvicorn

from metricforge.index import SearchIndex
from metricforge.server.access_token import AccessToken
from metricforge.server.app import create_app
from metricforge.server.limits import Limits
from metricforge.server.listening import address_of, allowed_names, listen

CONNECTIONS_A_REQUEST = 4  # connections may be open that ask for nothing


def run_server(
    index: SearchIndex,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: AccessToken | None = None,
    limits: Limits | None = None,
    proxy: str | None = None,
    on_start: Callable[[str], object] = lambda url: None,
) -> None:
    """Serves ``index`` until Ctrl-C or SIGTERM; requests that are worked on are finished.

    Args:
        index: what is searched.
        host: the address to listen at; 127.0.0.1 is reached from this machine alone, 0.0.0.0 from everywhere.
        port: 0 takes one that is free.
        token: lets those change the index who know it; None: nobody.
        limits: of requests.
        proxy: address of a proxy in front, whose word is taken for who the client is.
        on_start: called with the page's address when it can be opened.

    Raises:
        MetricForgeError: if nothing can listen at that address.
    """
    limits = limits or Limits()
    app = create_app(index, token, limits, allowed_names(host))
    listening = listen(host, port)
    with listening:
        config = uvicorn.Config(
            app,
            log_level="warning",
            server_header=False,
            proxy_headers=proxy is not None,
            forwarded_allow_ips=proxy or "",
            limit_concurrency=CONNECTIONS_A_REQUEST * limits.waiting,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=10,
        )
        on_start(address_of(listening))
        uvicorn.Server(config).run(sockets=[listening])
