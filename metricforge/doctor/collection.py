"""What is looked through: files, each with a class and a split, right or wrong as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from metricforge.arrays import Indices
from metricforge.datasets import ImageFileDataset
from metricforge.datasets.decoding.regular_file import read_regular_file
from metricforge.datasets.image_folder_dataset import images_by_class
from metricforge.datasets.shards.shard_dataset import part_of, reader_of
from metricforge.datasets.shards.shard_part import ShardPart
from metricforge.datasets.shards.shard_reader import ShardReader
from metricforge.datasets.string_column import StringColumn
from metricforge.datasets.tables.image_table import read_image_table


@dataclass(frozen=True)
class Collection:
    """Image files ``files`` (N,) below ``root``, their classes ``labels`` (N,) and their splits ``splits`` (N,).

    With a ``reader``, ``files`` are parts of shards.
    """

    name: str
    root: Path
    files: StringColumn
    labels: Indices
    class_names: Sequence[str]
    splits: Indices
    split_names: Sequence[str]
    reader: ShardReader | None = None

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


def collection_of_folder(folder: Path, train_fraction: float = 0.5) -> Collection:
    """A folder with one sub-folder a class, or with such folders in train/, val/ and test/.

    Without those, the first ``train_fraction`` of the classes counts as train, as ImageFolderDataset splits them.

    Raises:
        DatasetError: for a folder that is no such.
    """
    folder = folder.expanduser().absolute()
    parts = [name for name in ("train", "val", "test") if (folder / name).is_dir()]
    split_names = ["train", "val", "test"]
    if "train" not in parts or len(parts) < 2:
        by_class = images_by_class(folder)
        boundary = round(train_fraction * len(by_class))
        rows = [
            (file, name, 0 if number < boundary else 2)
            for number, (name, files) in enumerate(by_class.items())
            for file in files
        ]
    else:
        rows = [
            (f"{part}/{file}", name, split_names.index(part))
            for part in parts
            for name, files in images_by_class(folder / part).items()
            for file in files
        ]
    class_names = sorted({name for _, name, _ in rows})
    number_of = {name: number for number, name in enumerate(class_names)}
    return Collection(
        name=folder.name,
        root=folder,
        files=StringColumn(file for file, _, _ in rows),
        labels=np.array([number_of[name] for _, name, _ in rows], dtype=np.int64),
        class_names=class_names,
        splits=np.array([split for _, _, split in rows], dtype=np.int64),
        split_names=split_names,
    )


def collection_of_table(table: Path, root: str | Path | None = None, train_fraction: float = 0.5) -> Collection:
    """The rows of a table as TableDataset reads it, or ShardDataset; paths that stand twice among them.

    Without a split column, the first ``train_fraction`` of the classes counts as train.

    Raises:
        DatasetError: for a file that is no such table, or shards far away that cannot be reached.
    """
    table = table.expanduser().absolute()
    rows = read_image_table(table, {}, unique_paths=False)
    reader = None
    if (part := ShardPart.parse(rows.paths[0])) is not None:
        reader = reader_of(table, root)
        reader.refuse_unreachable(part)
    if rows.splits is None:
        splits = np.where(rows.labels < round(train_fraction * len(rows.class_names)), 0, 1)
        split_names = ["train", "test"]
    else:
        encoded = pc.fill_null(rows.splits, "").combine_chunks().dictionary_encode()
        splits = encoded.indices.to_numpy().astype(np.int64)
        split_names = encoded.dictionary.to_pylist()
    return Collection(
        name=table.stem,
        root=table.parent if root is None else Path(root).expanduser().absolute(),
        files=rows.paths,
        labels=rows.labels,
        class_names=rows.class_names,
        splits=splits,
        split_names=split_names,
        reader=reader,
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
