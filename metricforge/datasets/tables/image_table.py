"""Reads a table of images into flat arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metricforge.arrays import Flags, Indices
from metricforge.datasets.string_column import StringColumn
from metricforge.datasets.tables.left_out import LeftOut, first_names
from metricforge.datasets.tables.read_columns import read_columns
from metricforge.datasets.tables.splits_and_roles import read_roles, read_splits
from metricforge.datasets.tables.table_options import BOX, TableOptions
from metricforge.errors import DatasetError

_DEFAULT = TableOptions()


@dataclass(frozen=True)
class ImageTable:
    """The columns of a collection, checked only as far as every use of it needs: (N,) each, None where there is none.

    ``splits`` holds "train", "val", "test" or what else a table says; ``roles`` "query", "gallery", "both", "junk", ""
    or what else it says. ``left_out`` tells what is not among the rows, ``notes`` how the collection was understood.
    """

    paths: StringColumn
    labels: Indices
    class_names: list[str]
    splits: pa.ChunkedArray | None = None
    roles: pa.ChunkedArray | None = None
    groups: Indices | None = None
    group_names: tuple[str, ...] = ()
    cameras: Indices | None = None
    camera_names: tuple[str, ...] = ()
    boxes: dict[str, pa.ChunkedArray] | None = None
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def read_image_table(
    file: Path, options: TableOptions = _DEFAULT, root: Path | None = None, unique_paths: bool = True
) -> ImageTable:
    """Read ``file``, whose columns TableDataset lists.

    Args:
        file: ending in .parquet, .csv, .tsv, .txt or .lst.
        options: where its columns are and what to make of its rows.
        root: an absolute path below it is told relative to it; None: absolute paths stay.
        unique_paths: whether a path that stands twice is refused.

    Raises:
        DatasetError: for a file that is absent or no such table, a missing column or value, or a path standing twice.
        ValueError: for a template or pattern that cannot be read.
    """
    return image_table(str(file), read_columns(file, options, root), options, unique_paths)


def image_table(
    where: str,
    columns: Mapping[str, pa.ChunkedArray],
    options: TableOptions,
    unique_paths: bool = True,
    notes: tuple[str, ...] = (),
    left_out: tuple[LeftOut, ...] = (),
) -> ImageTable:
    """Number the classes, groups and cameras of ``columns`` (N,), which have our names; see ``read_image_table``.

    ``where`` is the collection, for messages.
    """
    table = pa.table(dict(columns))
    table, dropped = _labelled_rows(where, table, options)
    table, ignored = _without_labels(where, table, options)
    if not len(table):
        raise DatasetError(f"{where}: no row is left; {'; '.join(each.describe() for each in (*dropped, *ignored))}")
    paths = StringColumn(table["path"])
    if unique_paths:
        _refuse_repeats(table, paths, where)
    labels, class_names = _numbered(table["label"])
    numbered = {name: _numbered(table[name]) for name in ("group", "camera") if name in table.column_names}
    splits, by_split = read_splits(table)
    return ImageTable(
        paths=paths,
        labels=labels,
        class_names=class_names,
        splits=splits,
        roles=read_roles(where, table, by_split),
        groups=numbered["group"][0] if "group" in numbered else None,
        group_names=tuple(numbered["group"][1]) if "group" in numbered else (),
        cameras=numbered["camera"][0] if "camera" in numbered else None,
        camera_names=tuple(numbered["camera"][1]) if "camera" in numbered else (),
        boxes={name: table[name] for name in BOX} if set(BOX) <= set(table.column_names) else None,
        left_out=(*left_out, *dropped, *ignored),
        notes=notes,
    )


def _labelled_rows(where: str, table: pa.Table, options: TableOptions) -> tuple[pa.Table, list[LeftOut]]:
    """The rows that say their class, group and camera; without ``drop_unlabelled`` all of them must."""
    left_out = []
    for name in ("label", "group", "camera"):
        if name not in table.column_names:
            continue
        empty = is_empty(table[name])
        if not empty.any():
            continue
        rows = np.flatnonzero(empty)
        if not options.drop_unlabelled:
            told = first_names([str(row + 1) for row in rows[:6]])
            raise DatasetError(
                f"{where}: {len(rows):,} of {len(table):,} rows have no {name} (rows {told}, such as "
                f"{table['path'][int(rows[0])].as_py()}); fill them in, or leave them out: drop_unlabelled=True"
            )
        left_out.append(LeftOut(f"rows without a {name}", StringColumn(table["path"].filter(pa.array(empty)))))
        table = table.filter(pa.array(~empty))
    return table, left_out


def is_empty(column: pa.ChunkedArray) -> Flags:
    """Whether each value (N,) is null, NaN, as Python writes it as text too, or text of nothing but blanks."""
    empty = pc.is_null(column, nan_is_null=True)
    if pa.types.is_large_string(column.type):
        text = pc.utf8_lower(pc.fill_null(pc.utf8_trim_whitespace(column), ""))
        empty = pc.or_(empty, pc.is_in(text, pa.array(["", "nan"], pa.large_string())))
    return empty.to_numpy()


def _without_labels(where: str, table: pa.Table, options: TableOptions) -> tuple[pa.Table, list[LeftOut]]:
    if not options.ignore_labels:
        return table, []
    wanted = [str(label) for label in options.ignore_labels]
    text = table["label"].cast(pa.large_string())
    there = set(pc.unique(text).to_pylist())
    absent = [label for label in wanted if label not in there]
    if absent:
        raise DatasetError(
            f"{where}: ignore_labels names {len(absent)} labels that no row has: {first_names(absent)}; it has "
            f"{first_names(sorted(there)[:6])}"
        )
    ignored = pc.is_in(text, pa.array(wanted, pa.large_string())).to_numpy()
    names = StringColumn(table["path"].filter(pa.array(ignored)))
    return table.filter(pa.array(~ignored)), [LeftOut(f"images of the labels {', '.join(wanted)}", names)]


def _numbered(column: pa.ChunkedArray) -> tuple[Indices, list[str]]:
    """0..C-1 for each value (N,), in the order of the values, and the values as text."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    values = encoded.dictionary
    order = pc.sort_indices(values).to_numpy()  # (C,)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[encoded.indices.to_numpy()], [str(value) for value in values.take(pa.array(order)).to_pylist()]


def _refuse_repeats(table: pa.Table, paths: StringColumn, where: str) -> None:
    twice = paths.repeated()
    if not len(twice):
        return
    first = twice.field("values")[0].as_py()
    labels = table["label"].filter(pc.equal(table["path"], first)).to_pylist()
    raise DatasetError(
        f"{where}: {len(twice):,} paths stand more than once, such as {first} with the labels "
        f"{', '.join(map(str, labels))}; keep one row an image"
    )
