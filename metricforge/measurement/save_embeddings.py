"""Writes embeddings of a run into the files that ``read_embedding_file`` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from metricforge.arrays import Array
from metricforge.atomic_write import atomic_write
from metricforge.errors import EmbeddingsError
from metricforge.large_arrays import row_blocks
from metricforge.structures import EmbeddingSet

FORMATS = (".npz", ".parquet")
VALUES_AT_ONCE = 2**22


def check_embedding_file(path: Path | str) -> Path:
    """Return ``path``, once its ending says a format that can be written.

    Raises:
        EmbeddingsError: for another ending.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise EmbeddingsError(f"{path} must end in {' or '.join(FORMATS)}, such as {path.stem or 'embeddings'}.npz")
    return path


def save_embeddings(images: EmbeddingSet, path: Path | str) -> Path:
    """Write ``embeddings``, ``labels``, ``ids`` and any ``cameras`` of ``images`` as they are: a whole file or none.

    Where classes have names, a column ``classes`` has them for other tools; scores are those of ``labels``. Vectors go
    block by block, and may be more than memory holds.

    Returns:
        The file.

    Raises:
        EmbeddingsError: for an ending other than .npz and .parquet.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from metricforge.measurement import read_embedding_file
        >>> images = EmbeddingSet(np.eye(2, dtype=np.float32), np.array([0, 1]), class_names=("cat", "dog"))
        >>> with TemporaryDirectory() as folder:
        ...     read_embedding_file(save_embeddings(images, f"{folder}/test.npz")).labels.tolist()
        [0, 1]
    """
    path = check_embedding_file(path)
    columns: dict[str, Array] = {"labels": images.labels, "ids": np.asarray(images.ids)}
    if images.cameras is not None:
        columns["cameras"] = images.cameras
    if images.class_names is not None:
        columns["classes"] = np.array(images.class_names, dtype=str)[images.labels]
    with atomic_write(path) as file:
        if path.suffix.lower() == ".npz":
            np.savez(file, embeddings=images.embeddings, **columns)  # type: ignore[arg-type]
            return path
        kind = pa.list_(pa.from_numpy_dtype(images.embeddings.dtype), images.embeddings.shape[1])
        schema = pa.schema({"embeddings": kind} | {name: pa.array(column[:0]).type for name, column in columns.items()})
        with parquet.ParquetWriter(file, schema) as writer:
            for rows, block in row_blocks(images.embeddings, max(1, VALUES_AT_ONCE // images.embeddings.shape[1])):
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(block)), type=kind)
                rest = [pa.array(column[rows]) for column in columns.values()]
                writer.write_table(pa.Table.from_arrays([vectors, *rest], schema=schema))
    return path
