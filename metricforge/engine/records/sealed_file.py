"""A torch archive with a checksum over all of its bytes, so that a changed byte is an error, not another model.

``torch.load`` does not verify the checksums of the zip archive it reads, and the archive's directory has none. Here the
comment of the archive, which zip readers ignore, holds the SHA-256 of all bytes before it.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import torch

from metricforge.atomic_write import atomic_write

_TITLE = b"metricforge sha256 "
_SEAL = len(_TITLE) + 64  # bytes of the comment: the title, then the digest in hexadecimal digits
_BLOCK = 1 << 20


def write_sealed(content: Any, path: Path) -> None:
    """Write ``torch.save(content)`` with its checksum, atomically: ``path`` is the old file or the complete new one."""
    with atomic_write(path) as file:
        torch.save(content, file)
        file.seek(-2, os.SEEK_END)  # an archive ends in the length of its comment, which was 0
        file.write(struct.pack("<H", _SEAL) + _TITLE)
        file.flush()
        with Path(file.name).open("rb") as written:
            digest = _digest(written, os.fstat(written.fileno()).st_size)
        file.write(digest.encode())


def is_sealed(file: BinaryIO) -> bool:
    """Whether the open ``file`` ends in a checksum."""
    file.seek(max(0, os.fstat(file.fileno()).st_size - _SEAL))
    return file.read().startswith(_TITLE)


def is_as_written(file: BinaryIO) -> bool:
    """Whether the checksum of the open, sealed ``file`` is that of its content."""
    file.seek(0)
    digest = _digest(file, os.fstat(file.fileno()).st_size - 64)
    return file.read() == digest.encode()


def digest_of(file: BinaryIO) -> str:
    """The checksum that the open, sealed ``file`` ends in."""
    file.seek(-64, os.SEEK_END)
    return file.read().decode(errors="replace")


def _digest(file: BinaryIO, count: int) -> str:
    """The SHA-256 of the next ``count`` bytes."""
    digest = hashlib.sha256()
    while count and (block := file.read(min(_BLOCK, count))):
        digest.update(block)
        count -= len(block)
    return digest.hexdigest()
