"""Reads images out of the middle of tar shards, on a disk or far away."""

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
    """Shards that lie in one place.

    Args:
        root: the folder or URL that their names are relative to; a name that is a URL needs none.
        options: of fsspec's file system, where they are far away.
    """

    root: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def shard(self, part: ShardPart) -> str:
        """Path or URL of the shard that ``part`` is in."""
        if is_remote(part.shard):
            return part.shard
        return f"{self.root.rstrip('/')}/{part.shard}" if is_remote(self.root) else str(Path(self.root) / part.shard)

    def read(self, part: ShardPart) -> bytes:
        """The file ``part``, as it was packed.

        Raises:
            DatasetError: if its shard is absent, cut off, or no longer has it there.
        """
        shard = self.shard(part)
        size = HEADER + part.size
        content = _bytes_of(shard, part.offset - HEADER, size, self.options)
        if len(content) > size:
            raise DatasetError(
                f"{shard} is given whole ({len(content):,} bytes) where {size:,} bytes of it were asked for; its "
                "server must know range requests: use another, or copy the shards to a disk (root)"
            )
        if len(content) < size:
            raise _changed(shard, part, "is cut off")
        if not part.is_announced_by(content[:HEADER]):
            raise _changed(shard, part, "is not the one that was indexed")
        return content[HEADER:]

    def refuse_unreachable(self, part: ShardPart) -> None:
        """Raises DatasetError if what is to give ``part`` from far away does not answer; that it lacks it is an answer.

        A look through millions of images would otherwise ask again for each.
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
        """Raises DatasetError if a shard on a disk is not there or ends before ``part`` does."""
        shard = self.shard(part)
        if is_remote(shard):
            return
        try:
            size = Path(shard).stat().st_size
        except OSError as fault:
            raise _absent(shard) from fault
        if size < part.offset + part.size:
            raise _changed(shard, part, "is cut off")


def is_remote(place: str) -> bool:
    """Whether ``place`` is for fsspec to read, such as ``https://...``, ``s3://...`` or ``filecache::gs://...``."""
    return "://" in place


class _OpenShard:
    """A shard on a disk. Each read says where, so that threads and forked workers do not disturb each other."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, start: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, start)


@lru_cache(maxsize=OPEN_AT_ONCE)
def _open_shard(path: str) -> _OpenShard:
    return _OpenShard(path)


def _bytes_of(shard: str, start: int, size: int, options: Mapping[str, Any]) -> bytes:
    """``size`` bytes from byte ``start`` on; fewer where the shard ends before. DatasetError if they cannot be had."""
    try:
        return _fetch(shard, start, size, options) if is_remote(shard) else _open_shard(shard).read(start, size)
    except FileNotFoundError as fault:
        raise _absent(shard) from fault
    except Exception as fault:  # the clients below fsspec have no error in common
        advice = "see that it can be reached, and go on with --resume" if is_remote(shard) else "mend or replace it"
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
    return DatasetError(f"the shard {shard} is not there; name the folder or URL that it is in (root)")


def _changed(shard: str, part: ShardPart, how: str) -> DatasetError:
    return DatasetError(
        f"{shard} {how}: {part.name} should be its bytes {part.offset:,} to {part.offset + part.size:,}, and is not; "
        "bring the shard back as it was, or make the index again (metricforge data index)"
    )
