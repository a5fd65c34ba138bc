"""Reads a file, and nothing that only looks like one."""

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
# A named pipe would be waited for until someone writes to it; on Windows there is no such flag, and no such pipe.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def read_regular_file(path: str | os.PathLike[str]) -> bytes:
    """The content of the file at ``path``.

    Raises:
        OSError: if it cannot be read, or is a named pipe, a socket, a device or a folder, of which none is waited for.
    """
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind != stat.S_IFREG:
            raise OSError(f"it is {_KINDS.get(kind, 'something else')}, not a file")
        return file.read()
