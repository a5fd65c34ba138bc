"""Images that lie in tar shards, on a disk or far away, in any order."""

from __future__ import annotations

from pathlib import Path

import fsspec

from metricforge.datasets.shard_part import ShardPart
from metricforge.datasets.table_dataset import TableDataset
from metricforge.errors import DatasetError
from metricforge.registry import DATASETS


@DATASETS.register_module()
class ShardDataset(TableDataset):
    """Images in tar shards (WebDataset's layout), by the index that ``metricforge data index`` makes of them once.

    The index is a table as TableDataset reads it, and takes all of its arguments; a ``path`` in it says shard, offset,
    size and name, ``train-000.tar@1536+20480/cat/17.jpg``. Each image is read by itself, at its offset: any sampler
    works, exactly and resumably, and nothing is unpacked. Columns such as split, group or role may be added to it.

    A shard may also be a URL that fsspec reads, such as s3:// or https:// (with the package that fsspec asks for).
    Every image is a request then, so have as many workers as hide its latency, or a ``cache`` of resized images, which
    takes it that shards never change under one name.

    Args:
        table: the index.
        root: what the shards' paths are relative to; None: the index's folder.
        split: see TableDataset, as for the arguments that follow.

    Raises:
        DatasetError: for a path that names no part of a shard, and see TableDataset.
    """

    def _read(self, index: int) -> bytes:
        part = self._part(index)
        where = self._shard(part)
        if isinstance(where, Path):
            with where.open("rb") as shard:
                shard.seek(part.offset)
                content = shard.read(part.size)
        else:
            try:
                system, path = fsspec.core.url_to_fs(where)
                content = system.cat_file(path, start=part.offset, end=part.offset + part.size)
            except Exception as fault:  # the network clients below fsspec have no common error
                raise DatasetError(
                    f"{self.location(index)} could not be fetched ({type(fault).__name__}: {fault}); when it can be, "
                    "--resume goes on"
                ) from fault
        if len(content) != part.size:
            raise OSError(f"the shard ends within it, after {len(content):,} of {part.size:,} bytes")
        return content

    def location(self, index: int) -> str:
        part = self._part(index)
        return f"{part.name} in {self._shard(part)}"

    def _state(self, index: int) -> str | None:
        part = self._part(index)
        where = self._shard(part)
        if not isinstance(where, Path):
            return str(part)
        return None if (changed := self._state_of(where)) is None else f"{changed}\0{part}"

    def _is_there(self, name: str) -> bool:
        part = ShardPart.parse(name)
        if part is None:
            raise DatasetError(
                f"{name!r} names no part of a tar shard; make an index (metricforge data index SHARDS --out FILE), or "
                "take TableDataset for files"
            )
        where = self._shard(part)
        return not isinstance(where, Path) or where.is_file()

    def _part(self, index: int) -> ShardPart:
        part = ShardPart.parse(self.files[index])
        if part is None:
            raise DatasetError(f"{self.files[index]!r} names no part of a tar shard; make the index again")
        return part

    def _shard(self, part: ShardPart) -> Path | str:
        return part.shard if "://" in part.shard else self.root / part.shard
