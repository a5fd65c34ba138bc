"""All embeddings of a folder of parts in one file, for tools that cannot read Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from metricforge.arrays import Floats32
from metricforge.atomic_write import atomic_write
from metricforge.deployment.embedding_parts import read_parts, vectors_of
from metricforge.errors import EmbeddingsError
from metricforge.measurement import TaggedEmbeddings


def write_single_file(folder: Path, kind: Literal["npy", "npz"]) -> Path:
    """Write ``embeddings.npy`` (N, D) with ``images.parquet``, which describes its rows, or ``embeddings.npz``.

    The .npz has ``embeddings``, ``ids``, ``paths`` and, if there are labels, ``labels``. It is built in memory; the
    .npy is written part by part.

    Raises:
        EmbeddingsError: if a part is missing.
    """
    rest = pa.concat_tables(part.drop_columns(["vector"]) for part in read_parts(folder))
    target = folder / f"embeddings.{kind}"
    if kind == "npy":
        with atomic_write(target) as file:
            blocks = (vectors_of(part) for part in read_parts(folder, ["vector"]))
            first = next(blocks)
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(rest), first.shape[1])}
            np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
            for block in (first, *blocks):
                file.write(block.astype("<f4").tobytes())
        with atomic_write(folder / "images.parquet") as file:
            parquet.write_table(rest, file)
        return target
    columns = {"embeddings": _all_vectors(folder), "ids": rest["id"].to_numpy()}
    columns["paths"] = np.array(rest["path"].to_pylist(), dtype=str)
    if "label" in rest.column_names:
        columns["labels"] = np.array(rest["label"].to_pylist())
    with atomic_write(target) as file:
        np.savez(file, **columns)
    return target


def read_tagged_embeddings(folder: Path) -> TaggedEmbeddings:
    """Read what ``metricforge embed`` wrote into ``folder``, to be scored.

    Raises:
        EmbeddingsError: if a part is missing, or the images have no labels.
    """
    rest = pa.concat_tables(part.drop_columns(["vector"]) for part in read_parts(folder))
    if "label" not in rest.column_names or rest["label"].null_count:
        raise EmbeddingsError(
            f"{folder}: the images have no labels, so nothing can be scored; embed a folder with one sub-folder per "
            "class, or a table with a column label"
        )
    labels = np.array(rest["label"].to_pylist())
    return TaggedEmbeddings(_all_vectors(folder), labels, rest["id"].to_numpy(), source=str(folder))


def _all_vectors(folder: Path) -> Floats32:
    return np.concatenate([vectors_of(part) for part in read_parts(folder, ["vector"])])
