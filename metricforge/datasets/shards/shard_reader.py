"""Reads single images from local or remote tar shards."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
from tenacity import retry, retry_if_not_exception_type, stop_after_attempt, wait_chain, wait_fixed

from metricforge.datasets.shards.shard_part import HEADER, ShardPart
from metricforge.errors import DatasetError

OPEN_AT_ONCE = 64
PAUSES = (1.0, 5.0)  # seconds before a request is repeated


@dataclass(frozen=True)
class ShardReader:
    """The shards in one place.

    Args:
        root: the folder or URL that their names are relative to; not needed for names that are URLs.
        options: for the fsspec file system of remote shards.
    """

    root: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def shard(self, part: ShardPart) -> str:
        """Path or URL of the shard that ``part`` is in."""
        if is_remote(part.shard):
            return part.shard
        return f"{self.root.rstrip('/')}/{part.shard}" if is_remote(self.root) else str(Path(self.root) / part.shard)

    def read(self, part: ShardPart) -> bytes:
        """Read the file ``part``, byte for byte as it was packed.

        Raises:
            DatasetError: if its shard is absent or truncated, or has something else at its offset.
        """
        shard = self.shard(part)
        size = HEADER + part.size
        content = _bytes_of(shard, part.offset - HEADER, size, self.options)
        if len(content) > size:
            raise DatasetError(
                f"{shard}: the server sent {len(content):,} bytes where {size:,} were requested; it must support range "
                "requests: use another server, or copy the shards to a disk (root)"
            )
        if len(content) < size:
            raise _changed(shard, part, "is truncated")
        if not part.is_announced_by(content[:HEADER]):
            raise _changed(shard, part, "is not the one that was indexed")
        return content[HEADER:]

    def refuse_unreachable(self, part: ShardPart) -> None:
        """Raise DatasetError if the server of a remote ``part`` does not answer; that a file is absent is an answer.

        Otherwise a check of millions of images would retry for each of them.
        """
        shard = self.shard(part)
        if not is_remote(shard):
            return
        try:
            _bytes_of(shard, part.offset - HEADER, HEADER, self.options)
        except DatasetError as fault:
            if not isinstance(fault.__cause__, FileNotFoundError):
                raise

    def refuse_short(self, part: ShardPart) -> None:
        """Raise DatasetError if a local shard is absent or ends before ``part`` does."""
        shard = self.shard(part)
        if is_remote(shard):
            return
        try:
            size = Path(shard).stat().st_size
        except OSError as fault:
            raise _absent(shard) from fault
        if size < part.offset + part.size:
            raise _changed(shard, part, "is truncated")


def is_remote(place: str) -> bool:
    """Whether ``place`` is for fsspec to read, such as ``https://...``, ``s3://...`` or ``filecache::gs://...``."""
    return "://" in place


class _OpenShard:
    """A local shard. Reads are positional, so that threads and forked workers do not disturb each other."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, start: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, start)


@lru_cache(maxsize=OPEN_AT_ONCE)
def _open_shard(path: str) -> _OpenShard:
    return _OpenShard(path)


def _bytes_of(shard: str, start: int, size: int, options: Mapping[str, Any]) -> bytes:
    """Read ``size`` bytes at ``start``, fewer if the shard ends earlier; DatasetError if it cannot be read."""
    try:
        return _fetch(shard, start, size, options) if is_remote(shard) else _open_shard(shard).read(start, size)
    except FileNotFoundError as fault:
        raise _absent(shard) from fault
    except Exception as fault:  # the clients below fsspec have no error in common
        advice = "check the connection and continue with --resume" if is_remote(shard) else "repair or replace it"
        if isinstance(fault, ImportError):
            advice = "install the package that it names"
        raise DatasetError(f"the shard {shard} cannot be read ({type(fault).__name__}: {fault}); {advice}") from fault


@retry(
    stop=stop_after_attempt(1 + len(PAUSES)),
    wait=wait_chain(*(wait_fixed(pause) for pause in PAUSES)),
    retry=retry_if_not_exception_type((FileNotFoundError, PermissionError, ImportError, ValueError)),
    reraise=True,
)
def _fetch(shard: str, start: int, size: int, options: Mapping[str, Any]) -> bytes:
    # fsspec keeps its file systems itself, each process its own: connections are no good after a fork.
    system, path = fsspec.core.url_to_fs(shard, **options)
    content: bytes = system.cat_file(path, start=start, end=start + size)
    return content


def _absent(shard: str) -> DatasetError:
    return DatasetError(f"the shard {shard} does not exist; name the folder or URL that contains it (root)")


def _changed(shard: str, part: ShardPart, how: str) -> DatasetError:
    return DatasetError(
        f"{shard} {how}: its bytes {part.offset:,} to {part.offset + part.size:,} should be {part.name}, and are not; "
        "restore the shard, or make the index again (metricforge data index)"
    )
