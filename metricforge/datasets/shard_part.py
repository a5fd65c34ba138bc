"""Where an image lies within a tar shard, as one piece of text that a table's path column can hold."""

from __future__ import annotations

import re
from typing import NamedTuple

_WRITTEN = re.compile(r"(?P<shard>.+\.tar)@(?P<offset>\d+)\+(?P<size>\d+)/(?P<name>.+)")


class ShardPart(NamedTuple):
    """``size`` bytes from byte ``offset`` on of the file ``shard``, a path or a URL, in which they are called ``name``.

    Written ``train-000.tar@1536+20480/cat/17.jpg``.
    """

    shard: str
    offset: int
    size: int
    name: str

    @classmethod
    def parse(cls, text: str) -> ShardPart | None:
        """What ``text`` says, or None if it is the path of a file."""
        match = _WRITTEN.fullmatch(text)
        return None if match is None else cls(match["shard"], int(match["offset"]), int(match["size"]), match["name"])

    def __str__(self) -> str:
        return f"{self.shard}@{self.offset}+{self.size}/{self.name}"
