"""Reads regular files, and refuses pipes, sockets, devices and folders."""

from __future__ import annotations

import os
import stat

from metricforge.datasets.decoding.limits import MOST_BYTES, limit

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
# Opening a named pipe would wait for a writer; Windows has neither the flag nor such pipes.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def read_regular_file(path: str | os.PathLike[str]) -> bytes:
    """Return the content of the file at ``path``.

    Raises:
        OSError: if it cannot be read, is larger than the limit, or is a named pipe, a socket, a device or a folder;
            never waits for any of them.
    """
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
        state = os.fstat(descriptor)
        kind = stat.S_IFMT(state.st_mode)
        if kind != stat.S_IFREG:
            raise OSError(f"it is {_KINDS.get(kind, 'something else')}, not a file")
        if state.st_size > limit(MOST_BYTES):
            raise OSError(
                f"it has {state.st_size:,} bytes, more than the {limit(MOST_BYTES):,} that are read; if it is to be "
                f"trusted, set the environment variable {MOST_BYTES}={state.st_size}"
            )
        return file.read()
