"""Reads regular files, and refuses pipes, sockets, devices and folders."""

from __future__ import annotations

import os
import stat

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
        OSError: if it cannot be read, or is a named pipe, a socket, a device or a folder; never waits for any of them.
    """
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind != stat.S_IFREG:
            raise OSError(f"it is {_KINDS.get(kind, 'something else')}, not a file")
        return file.read()
