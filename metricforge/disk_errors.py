"""What a disk or a folder says that does not take a file."""

from __future__ import annotations

import errno

FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
CLOSED = frozenset((errno.EROFS, errno.EACCES, errno.EPERM))
GONE = frozenset((errno.ENOENT, errno.ESTALE, errno.ENOTDIR))
# of a name that somebody gave: one that is taken, a folder where a file is to be, or too long
MISNAMED = frozenset((errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP))


def disk_error(error: BaseException) -> OSError | None:
    """What the disk said, if that is ``error`` or what led to it; torch, for one, raises errors of its own for it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in FULL | CLOSED | GONE | {errno.EIO}:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def disk_failure(error: BaseException) -> str | None:
    """Why the disk did not take a file, if that is what ``error`` or what led to it says."""
    found = disk_error(error)
    if found is None:
        return None
    return found.strerror if found.errno != errno.ENOENT else "the folder has vanished"
