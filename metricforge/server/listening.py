"""Where a server listens, and by which names it may be called there."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from metricforge.errors import MetricForgeError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def allowed_names(host: str) -> Sequence[str] | None:
    """The names by which a server at ``host`` may be called: of this machine alone its own; None: any."""
    return LOOPBACK_NAMES if _is_loopback(host) else None


def listen(host: str, port: int) -> socket.socket:
    """Begin to listen at ``host``, at a free port where ``port`` is 0.

    Raises:
        MetricForgeError: if nothing can listen there.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as fault:
        raise MetricForgeError(
            f"cannot listen at {host}, port {port} ({fault}); choose another --port, or 0 for one that is free"
        ) from fault


def address_of(listening: socket.socket) -> str:
    """The address of a page that is served there."""
    name, number = listening.getsockname()[:2]
    return f"http://{f'[{name}]' if ':' in name else name}:{number}/"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
