"""Reads a CSV or Parquet table of images into flat arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from metricforge.arrays import Indices
from metricforge.datasets.string_column import StringColumn
from metricforge.errors import DatasetError

BOX = ("left", "top", "right", "bottom")
_NEEDED = ("path", "label")
_OPTIONAL = ("split", "role", "group")


@dataclass(frozen=True)
class ImageTable:
    """The columns of a table, checked only as far as every use of it needs: (N,) each, None where there is none."""

    paths: StringColumn
    labels: Indices
    class_names: list[str]
    splits: pa.ChunkedArray | None
    roles: pa.ChunkedArray | None
    groups: Indices | None
    group_names: list[str]
    boxes: dict[str, pa.ChunkedArray] | None


def read_image_table(file: Path, columns: Mapping[str, str], unique_paths: bool = True) -> ImageTable:
    """Reads ``file``, whose columns TableDataset lists; ``columns`` gives the names it has for them.

    Args:
        file: ending in .csv or .parquet.
        columns: our name -> the table's.
        unique_paths: whether a path that stands twice is refused.

    Raises:
        DatasetError: for a file that is absent or no such table, a missing column or value, or a path standing twice.
        ValueError: for ``columns`` of another name than those.
    """
    known = (*_NEEDED, *_OPTIONAL, *BOX)
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise ValueError(f"columns must be among {', '.join(known)}, got {', '.join(unknown)}")
    if not file.is_file():
        raise DatasetError(
            f"the table {file} does not exist; expected: a .csv or .parquet file with the columns path and label, and "
            "optionally split, role, group, left, top, right, bottom"
        )
    called = {name: columns.get(name, name) for name in known}
    table = _read(file, called, set(columns))
    for name in _NEEDED:
        if table[name].null_count:
            row = int(np.argmax(table[name].is_null().to_numpy()))
            count = table[name].null_count
            raise DatasetError(f"{file}, row {row + 1}: column {called[name]!r} is empty, as it is in {count:,} rows")
    paths = StringColumn(table["path"])
    if unique_paths:
        _refuse_repeats(table, paths, file)
    labels, class_names = _numbered(table["label"])
    groups = None
    group_names: list[str] = []
    if "group" in table.column_names:
        if table["group"].null_count:
            raise DatasetError(f"{file}: {table['group'].null_count:,} rows have no {called['group']!r}; fill them in")
        groups, group_names = _numbered(table["group"])
    return ImageTable(
        paths=paths,
        labels=labels,
        class_names=class_names,
        splits=table["split"] if "split" in table.column_names else None,
        roles=table["role"] if "role" in table.column_names else None,
        groups=groups,
        group_names=group_names,
        boxes={name: table[name] for name in BOX} if set(BOX) <= set(table.column_names) else None,
    )


def _read(file: Path, called: Mapping[str, str], demanded: set[str]) -> pa.Table:
    """The columns of ``file`` that we know, under our names, text as large strings."""
    try:
        if file.suffix.lower() == ".parquet":
            present = parquet.read_schema(file).names
        elif file.suffix.lower() == ".csv":
            with csv.open_csv(file) as reader:
                present = reader.schema.names
        else:
            raise DatasetError(f"{file} must end in .csv or .parquet")
        absent = [called[name] for name in called if name in (*_NEEDED, *demanded) and called[name] not in present]
        if absent:
            raise DatasetError(
                f"{file} has no column {' and no '.join(map(repr, absent))}; it has {', '.join(present)}; name those "
                'that are called otherwise: columns=dict(path="file", label="product_id")'
            )
        wanted = {ours: theirs for ours, theirs in called.items() if theirs in present}
        if file.suffix.lower() == ".parquet":
            table = parquet.read_table(file, columns=list(wanted.values()))
        else:
            text = {theirs: pa.large_string() for ours, theirs in wanted.items() if ours not in BOX}
            options = csv.ConvertOptions(include_columns=list(wanted.values()), column_types=text)
            table = csv.read_csv(file, convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as fault:
        raise DatasetError(f"{file} cannot be read as a table ({fault}); mend or replace it") from fault
    if not len(table):
        raise DatasetError(f"{file} has no row")
    arrays = {ours: _plain(ours, table[theirs], file) for ours, theirs in wanted.items()}
    return pa.table(arrays)


def _plain(name: str, column: pa.ChunkedArray, file: Path) -> pa.ChunkedArray:
    """``column`` without dictionary encoding, and text of one type."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if name in BOX:
        return column
    if name in ("label", "group") and pa.types.is_integer(kind):
        return column
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        also = " or whole numbers" if name in ("label", "group") else ""
        raise DatasetError(f"{file}: column {name} must hold text{also}, it holds {kind}")
    return column.cast(pa.large_string())


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


def _refuse_repeats(table: pa.Table, paths: StringColumn, file: Path) -> None:
    twice = paths.repeated()
    if not len(twice):
        return
    first = twice.field("values")[0].as_py()
    labels = table["label"].filter(pc.equal(table["path"], first)).to_pylist()
    raise DatasetError(
        f"{file}: {len(twice):,} paths stand more than once, such as {first} with the labels "
        f"{', '.join(map(str, labels))}; keep one row an image"
    )
