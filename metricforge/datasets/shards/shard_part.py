"""The position of an image in a tar shard, as text that fits into a table's path column."""

from __future__ import annotations

import re
import tarfile
from typing import NamedTuple

HEADER = 512  # bytes that tar writes before a file's content: its name, size, kind and their checksum
_NAME_IN_HEADER = 99  # bytes of it that every format has room for
_WRITTEN = re.compile(r"(?P<shard>.+\.tar)@(?P<offset>\d+)\+(?P<size>\d+)/(?P<name>.+)", re.DOTALL)


class ShardPart(NamedTuple):
    """``size`` bytes at ``offset`` in the file ``shard`` (a path or URL), stored there under ``name``.

    Written ``train-000.tar@1536+20480/cat/17.jpg``.
    """

    shard: str
    offset: int
    size: int
    name: str

    @classmethod
    def parse(cls, text: str) -> ShardPart | None:
        """Parse ``text``; None if it is the path of a file."""
        match = _WRITTEN.fullmatch(text)
        return None if match is None else cls(match["shard"], int(match["offset"]), int(match["size"]), match["name"])

    def is_announced_by(self, header: bytes) -> bool:
        """Whether ``header``, the 512 bytes before the file, is the tar header for this name and size."""
        try:
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            return False
        # a name that is long or not ASCII stands whole in a block of its own, and in some other form in the header
        comparable = self.name.isascii() and len(self.name) <= _NAME_IN_HEADER
        return member.isreg() and member.size == self.size and (not comparable or member.name == self.name)

    def __str__(self) -> str:
        return f"{self.shard}@{self.offset}+{self.size}/{self.name}"
