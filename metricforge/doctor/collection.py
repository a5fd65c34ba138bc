"""The files to check, each with a class and a split, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from metricforge.arrays import Indices
from metricforge.datasets import ImageFileDataset
from metricforge.datasets.decoding.regular_file import read_regular_file
from metricforge.datasets.folders.folder_options import FolderOptions
from metricforge.datasets.folders.read_image_folder import read_image_folder
from metricforge.datasets.shards.shard_dataset import part_of, reader_of
from metricforge.datasets.shards.shard_part import ShardPart
from metricforge.datasets.shards.shard_reader import ShardReader
from metricforge.datasets.string_column import StringColumn
from metricforge.datasets.tables.class_split import training_classes
from metricforge.datasets.tables.image_table import ImageTable, read_image_table
from metricforge.datasets.tables.left_out import LeftOut
from metricforge.datasets.tables.split_images import SplitRequest
from metricforge.datasets.tables.table_options import TableOptions

_ANY_FOLDER, _ANY_TABLE, _ALL = FolderOptions(), TableOptions(), SplitRequest("all")


@dataclass(frozen=True)
class Collection:
    """Image files ``files`` (N,) below ``root``, their classes ``labels`` (N,) and their splits ``splits`` (N,).

    With a ``reader``, ``files`` are parts of shards. ``left_out`` is not among them, and ``notes`` say how the
    collection was understood.
    """

    name: str
    root: Path
    files: StringColumn
    labels: Indices
    class_names: Sequence[str]
    splits: Indices
    split_names: Sequence[str]
    reader: ShardReader | None = None
    left_out: Sequence[LeftOut] = ()
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.files)

    def content(self, index: int) -> bytes:
        """The file of image ``index``.

        Raises:
            OSError: if it cannot be read.
            DatasetError: if its shard cannot.
        """
        if self.reader is None:
            return read_regular_file(self.root / self.files[index])
        return self.reader.read(part_of(self.files[index]))

    def class_of(self, index: int) -> str:
        """The name of its class."""
        return self.class_names[self.labels[index]]

    def split_of(self, index: int) -> str:
        """The name of its split."""
        return self.split_names[self.splits[index]]

    def describe(self) -> str:
        """One line for people."""
        used = sorted(set(self.splits.tolist()))
        parts = ", ".join(f"{int((self.splits == s).sum()):,} {self.split_names[s]}" for s in used)
        return f"{self.name}: {len(self):,} images of {len(self.class_names):,} classes ({parts})"


def collection_of_folder(
    folder: Path, options: FolderOptions = _ANY_FOLDER, request: SplitRequest = _ALL
) -> Collection:
    """A folder of images as ImageFolderDataset reads it.

    Without splits of its own, or where ``request`` says which classes train, classes are split as it splits them.

    Raises:
        DatasetError: for a folder of another layout.
    """
    folder = folder.expanduser().absolute()
    return _collection_of_rows(read_image_folder(folder, options), folder.name, folder, request)


def collection_of_table(
    table: Path, root: str | Path | None = None, options: TableOptions = _ANY_TABLE, request: SplitRequest = _ALL
) -> Collection:
    """The rows of a table as TableDataset reads it, or ShardDataset; including paths that are listed twice.

    Without a split column, or where ``request`` says which classes train, classes are split as TableDataset does.

    Raises:
        DatasetError: for a file that is no such table, or remote shards that cannot be reached.
    """
    table = table.expanduser().absolute()
    folder = table.parent if root is None else Path(root).expanduser().absolute()
    rows = read_image_table(table, options, folder, unique_paths=False)
    reader = None
    if (part := ShardPart.parse(rows.paths[0])) is not None:
        reader = reader_of(table, root)
        reader.refuse_unreachable(part)
    return _collection_of_rows(rows, table.stem, folder, request, reader)


def _collection_of_rows(
    rows: ImageTable, name: str, root: Path, request: SplitRequest, reader: ShardReader | None = None
) -> Collection:
    if rows.splits is None or request.by_classes:
        fraction = 0.5 if request.train_fraction is None else request.train_fraction
        for_training = training_classes(str(root), rows.class_names, fraction, request.train_classes)  # (C,)
        splits = np.where(for_training[rows.labels], 0, 1)
        split_names = ["train", "test"]
    else:
        encoded = pc.fill_null(rows.splits, "").combine_chunks().dictionary_encode()
        splits = encoded.indices.to_numpy().astype(np.int64)
        split_names = encoded.dictionary.to_pylist()
    return Collection(
        name=name,
        root=root,
        files=rows.paths,
        labels=rows.labels,
        class_names=rows.class_names,
        splits=splits,
        split_names=split_names,
        reader=reader,
        left_out=rows.left_out,
        notes=rows.notes,
    )


def collection_of_splits(splits: Sequence[ImageFileDataset]) -> Collection:
    """Data sets below one root, one a split."""
    class_names = sorted({name for split in splits for name in split.class_names})
    number_of = {name: number for number, name in enumerate(class_names)}
    labels = [np.array([number_of[name] for name in split.class_names])[split.labels] for split in splits]
    return Collection(
        name=splits[0].name,
        root=splits[0].root,
        files=StringColumn(file for split in splits for file in split.files),
        labels=np.concatenate(labels),
        class_names=class_names,
        splits=np.repeat(np.arange(len(splits)), [len(split) for split in splits]),
        split_names=[split.split for split in splits],
    )
