"""The one way a file is written: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_LONGEST_PREFIX = 100  # bytes of a name that may have 255; what follows it takes about 60


@contextlib.contextmanager
def atomic_write(path: Path | str, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file to be written; it takes the place of ``path`` when the block ends without an error.

    Until then whoever reads ``path`` finds what was there before, also where the process is killed midway. The content
    goes to a hidden file in the same folder, whose name no other process or thread uses; after an error it is removed.
    Missing folders are made, the mode follows the umask, and a symbolic link keeps pointing to the file it points to.
    What is no regular file, such as ``/dev/stdout`` or a pipe, is written directly.

    Args:
        path: what to write or replace.
        durable: wait until the content is on the disk before it gets its name, so that a loss of power cannot leave an
            empty file. A cache that checks what it reads can do without.

    Raises:
        OSError: if it cannot be written; ``path`` is untouched.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with target.open("wb") as file:  # raises IsADirectoryError for a folder
            yield file
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(_unique_name(target.name))
    try:
        with _create(unfinished, target) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def write_atomically(path: Path | str, content: bytes | str, durable: bool = True) -> None:
    """Write ``content``, text as UTF-8, as ``atomic_write`` does."""
    with atomic_write(path, durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def check_writable(path: Path | str) -> None:
    """Raise what ``atomic_write`` would say of the place now, so that long work does not end with it.

    Raises:
        OSError: if ``path`` is a folder, or one cannot be made for it or written into.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise _said(errno.EISDIR, target)
    if target.exists() and not target.is_file():
        return
    folder = next(above for above in target.parents if above.exists())
    if not folder.is_dir():
        raise _said(errno.ENOTDIR, target)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _said(errno.EACCES, target)


def _said(number: int, target: Path) -> OSError:
    return OSError(number, os.strerror(number), str(target))


def _unique_name(name: str) -> str:
    """A hidden name; the process and thread in it tell a person who finds it after a crash where it came from."""
    prefix = os.fsdecode(os.fsencode(name)[:_LONGEST_PREFIX])
    return f".{prefix}.{os.getpid()}-{threading.get_native_id()}-{uuid.uuid4().hex}.tmp"


def _create(unfinished: Path, target: Path) -> BinaryIO:
    try:
        return unfinished.open("xb")
    except OSError as error:
        error.filename = str(target)  # the name that the caller knows
        raise
