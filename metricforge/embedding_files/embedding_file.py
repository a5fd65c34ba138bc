"""Reads embeddings from the files that other tools write."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from metricforge.arrays import Array
from metricforge.damaged_arrays import DAMAGED_ARRAY
from metricforge.embedding_files.npz_member import read_npz_member
from metricforge.embedding_files.tagged_embeddings import TaggedEmbeddings
from metricforge.errors import EmbeddingsError

NEEDED = ("embeddings", "labels")
OPTIONAL = ("ids", "cameras")
HINT = (
    "expected: embeddings (N, D), labels (N,) and optionally ids (N,), as numpy.savez(FILE, embeddings=..., "
    "labels=...) writes them"
)


def read_embedding_file(path: Path | str) -> TaggedEmbeddings:
    """Read ``embeddings``, ``labels`` and, optionally, ``ids`` and ``cameras`` from a .npz or .parquet file.

    A Parquet file has one row per image, with a list of D numbers in ``embeddings``, and is read as a whole. What
    ``numpy.savez`` wrote stays in its file, memory-mapped, and may be larger than memory; the file must not change
    while it is used. Nothing in a file is executed.

    Raises:
        DiskSpaceError: if there is no disk space to unpack a large compressed file.
        EmbeddingsError: for a file that is absent, another kind of file, a missing column, or what
            ``TaggedEmbeddings`` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise EmbeddingsError(f"{path}: there is no such file; {HINT}")
    if path.suffix.lower() not in (".npz", ".parquet"):
        raise EmbeddingsError(f"{path} must end in .npz or .parquet; {HINT}")
    columns = _npz(path) if path.suffix.lower() == ".npz" else _parquet(path)
    return TaggedEmbeddings(
        columns["embeddings"], columns["labels"], columns.get("ids"), str(path), columns.get("cameras")
    )


def _refuse_missing(path: Path, present: list[str]) -> None:
    missing = [name for name in NEEDED if name not in present]
    if missing:
        raise EmbeddingsError(
            f"{path} has no {' and no '.join(missing)}; it has {', '.join(present) or 'nothing'}; {HINT}"
        )


def _npz(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {Path(name).stem: name for name in archive.namelist() if name.endswith(".npy")}
            _refuse_missing(path, list(members))
            arrays = {name: read_npz_member(path, archive, members[name]) for name in NEEDED}
            for name in OPTIONAL:
                if name in members:
                    arrays[name] = read_npz_member(path, archive, members[name])
    except EmbeddingsError:
        raise
    except DAMAGED_ARRAY as fault:
        raise EmbeddingsError(f"{path} cannot be read ({fault}); {HINT}") from fault
    return arrays


def _parquet(path: Path) -> dict[str, Array]:
    try:
        present = parquet.read_schema(path).names
        _refuse_missing(path, present)
        table = parquet.read_table(path, columns=[name for name in (*NEEDED, *OPTIONAL) if name in present])
        return _columns_of(path, table)
    except (pa.ArrowException, OSError, UnicodeError) as fault:  # text is first looked at when it is unpacked
        raise EmbeddingsError(f"{path} cannot be read as a table ({fault}); repair or replace it") from fault


def _columns_of(path: Path, table: pa.Table) -> dict[str, Array]:
    empty = [f"{name} ({table[name].null_count:,})" for name in table.column_names if table[name].null_count]
    if empty:
        raise EmbeddingsError(f"{path}: every row must have a value, and some have none in {', '.join(empty)}")
    kind = table["embeddings"].type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise EmbeddingsError(f"{path}: embeddings must be a column of lists of numbers, got {kind}")
    lists = table["embeddings"].combine_chunks()
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    lengths = np.unique(lists.value_lengths().to_numpy(zero_copy_only=False))
    if len(lengths) > 1:
        raise EmbeddingsError(
            f"{path}: embeddings must be of one length, got lists of {lengths.min()} to {lengths.max()} numbers"
        )
    columns = {"embeddings": flat.reshape(len(lists), -1)}
    for name in table.column_names:
        if name != "embeddings":
            column = table[name].to_numpy()
            columns[name] = column.astype(str) if column.dtype == object else column
    return columns
