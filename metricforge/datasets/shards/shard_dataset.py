"""Images in local or remote tar shards, read in any order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from metricforge.datasets.shards.shard_part import ShardPart
from metricforge.datasets.shards.shard_reader import ShardReader, is_remote
from metricforge.datasets.string_column import StringColumn
from metricforge.datasets.tables.table_dataset import TableDataset
from metricforge.errors import DatasetError
from metricforge.registry import DATASETS

_MOST_LOOKS = 100_000


@DATASETS.register_module()
class ShardDataset(TableDataset):
    """Images in tar shards (WebDataset layout), found by the index that ``metricforge data index`` writes once.

    The index is a table that TableDataset can read, with all of its arguments; a ``path`` in it names shard, offset,
    size and file, ``train-000.tar@1536+20480/cat/17.jpg``. Each image is read on its own, at its offset: any sampler
    works, exactly and resumably, and nothing is unpacked. The tar header before it is read and compared as well, so
    that a changed shard is noticed. Columns such as split, group or role may be added to the index.

    A shard may also be a URL that fsspec reads, such as s3:// or https:// (with the package that fsspec asks for).
    Each image is then a request: use enough workers to hide its latency, or a ``cache`` of resized images, which
    assumes that a shard never changes under the same name.

    Args:
        table: the index.
        root: the folder or URL that the shards' names are relative to; None: the index's folder.
        split: see TableDataset, as for the arguments that follow.
        columns: what the index calls a column.
        drop_unlabelled: leave out rows without a label.
        ignore_labels: labels whose images are left out.
        crop: whether each image is cropped to its box.
        train_fraction: of the classes.
        train_classes: their names instead.
        folds: of a cross-validation.
        fold: which part validates.
        shared_classes: whether a class may be in several splits.
        storage_options: of fsspec's file system, such as ``dict(anon=True)`` for ``s3://``.
        transform: see ImageDataset.

    Raises:
        DatasetError: for a path that names no part of a shard, or a shard that is absent, truncated or not the one that
            was indexed (checks the size of every local shard and some hundred images, and one remote image); see also
            TableDataset.
        ValueError: see TableDataset.
    """

    def __init__(
        self,
        table: str | Path,
        root: str | Path | None = None,
        split: Literal["train", "val", "test", "all"] = "train",
        columns: Mapping[str, str | int] | None = None,
        drop_unlabelled: bool = False,
        ignore_labels: Sequence[str] = (),
        crop: bool = False,
        train_fraction: float | None = None,
        train_classes: Sequence[str] | str | Path | None = None,
        folds: int | None = None,
        fold: int | None = None,
        shared_classes: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        self.reader = reader_of(Path(table), root, storage_options)
        self._was_reached = False
        super().__init__(
            table=table,
            root=None if is_remote(self.reader.root) else self.reader.root,
            split=split,
            columns=columns,
            drop_unlabelled=drop_unlabelled,
            ignore_labels=ignore_labels,
            crop=crop,
            train_fraction=train_fraction,
            train_classes=train_classes,
            folds=folds,
            fold=fold,
            shared_classes=shared_classes,
            transform=transform,
        )
        for end in ends_of_shards(self.files):
            self.reader.refuse_short(part_of(self.files[end]))

    def location(self, index: int) -> str:
        part = part_of(self.files[index])
        return f"{part.name} in {self.reader.shard(part)}"

    def _read(self, index: int) -> bytes:
        return self.reader.read(part_of(self.files[index]))

    def _state(self, index: int) -> str | None:
        part = part_of(self.files[index])
        shard = self.reader.shard(part)
        changed = shard if is_remote(shard) else self._state_of(Path(shard))
        return None if changed is None else f"{changed}\0{part}"

    def _is_there(self, name: str) -> bool:
        part = part_of(name)
        shard = self.reader.shard(part)
        if is_remote(shard):
            if not self._was_reached:
                self.reader.read(part)
                self._was_reached = True
            return True
        if not Path(shard).is_file():
            return False
        self.reader.read(part)
        return True


def ends_of_shards(files: StringColumn) -> list[int]:
    """Return the indices in ``files`` (N,) of the last image of each shard, if its images are consecutive.

    A binary search: it looks at a few thousand of ten million paths. On unsorted paths it stops after a fixed number.
    """
    ends, between = [len(files) - 1], [(0, len(files) - 1)]
    looks = 0
    while between and looks < _MOST_LOOKS:
        low, high = between.pop()
        looks += 1
        if part_of(files[low]).shard == part_of(files[high]).shard:
            continue
        if high - low == 1:
            ends.append(low)
        else:
            middle = (low + high) // 2
            between += [(low, middle), (middle, high)]
    return ends


def reader_of(table: Path, root: str | Path | None, options: Mapping[str, Any] | None = None) -> ShardReader:
    """Return a reader for the shards of the index ``table``, below ``root`` or in the folder of the index."""
    if root is None:
        root = table.expanduser().absolute().parent
    return ShardReader(str(root) if is_remote(str(root)) else str(Path(root).expanduser().absolute()), options or {})


def part_of(path: str) -> ShardPart:
    """Parse a ``path`` of an index.

    Raises:
        DatasetError: if it is the path of a file.
    """
    part = ShardPart.parse(path)
    if part is None:
        raise DatasetError(
            f"{path!r} does not name a part of a tar shard; make an index (metricforge data index SHARDS --out FILE), "
            "or use TableDataset for files"
        )
    return part
