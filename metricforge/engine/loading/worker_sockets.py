"""Room for the sockets over which worker processes hand on what they read."""

from __future__ import annotations

import os
import sys
import tempfile

from metricforge.errors import MetricForgeError

PATH_BYTES = 107 if sys.platform.startswith("linux") else 103  # of a socket's address
OWN_BYTES = len("/pymp-12345678/listener-12345678")  # what multiprocessing adds to the temporary folder


def check_worker_sockets(num_workers: int) -> None:
    """Refuse a temporary folder whose path leaves no room for the workers' sockets, for which a loader waits forever.

    Raises:
        MetricForgeError: where ``num_workers`` is above 0 and the folder's path is too long.
    """
    folder = tempfile.gettempdir()
    size, most = len(os.fsencode(folder)), PATH_BYTES - OWN_BYTES
    if num_workers > 0 and size > most:
        raise MetricForgeError(
            f"TMPDIR: {folder} has {size} bytes, and workers need a path of at most {most} for their sockets; set "
            "TMPDIR to a shorter path, or read without workers (num_workers=0, --workers 0)"
        )
