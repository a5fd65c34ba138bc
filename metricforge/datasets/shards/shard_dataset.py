"""Images that lie in tar shards, on a disk or far away, in any order."""

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
    """Images in tar shards (WebDataset's layout), by the index that ``metricforge data index`` makes of them once.

    The index is a table as TableDataset reads it, and takes all of its arguments; a ``path`` in it says shard, offset,
    size and name, ``train-000.tar@1536+20480/cat/17.jpg``. Each image is read by itself, at its offset: any sampler
    works, exactly and resumably, and nothing is unpacked. The tar header before it is read with it and compared, so
    that a shard that was changed is seen. Columns such as split, group or role may be added to the index.

    A shard may also be a URL that fsspec reads, such as s3:// or https:// (with the package that fsspec asks for).
    Every image is a request then, so have as many workers as hide its latency, or a ``cache`` of resized images, which
    takes it that shards never change under one name.

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
        DatasetError: for a path that names no part of a shard, a shard that is absent, cut off or not the one that was
            indexed (every shard's size and some hundred images are looked at; far away one image), and see
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
        for end in _ends_of_shards(self.files):
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


def _ends_of_shards(files: StringColumn) -> list[int]:
    """Where in ``files`` (N,), whose shards follow each other, the next shard begins after; the last image as well.

    By halving: of ten million paths a few thousand are looked at. If they are in no order, it stops somewhere.
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
    """Reads the shards of the index ``table`` where ``root`` says, or in its folder."""
    if root is None:
        root = table.expanduser().absolute().parent
    return ShardReader(str(root) if is_remote(str(root)) else str(Path(root).expanduser().absolute()), options or {})


def part_of(path: str) -> ShardPart:
    """What ``path`` of an index says.

    Raises:
        DatasetError: if it is the path of a file.
    """
    part = ShardPart.parse(path)
    if part is None:
        raise DatasetError(
            f"{path!r} names no part of a tar shard; make an index (metricforge data index SHARDS --out FILE), or take "
            "TableDataset for files"
        )
    return part
