"""A segment: vectors that were added together, the columns of their images, and a structure to search them by."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import pyarrow as pa

from metricforge.arrays import Flags, Floats32, Indices
from metricforge.index.array_similarity import ArraySimilarity, of_arrays
from metricforge.index.kinds import Space, build_structure, search_structure, space_of
from metricforge.large_arrays import let_go

if TYPE_CHECKING:
    from metricforge.interfaces import Similarity

VECTORS, SEARCHED, ROWS, STRUCTURE = "vectors.npy", "searched.npy", "rows.arrow", "structure.faiss"
FOLDER = "segments"
SAME = 1e-6  # vectors that ``prepare`` changes by no more than this are stored once
RARE = 0.05  # if at most this share of the rows may be found, each of them is compared


class Segment:
    """``n`` vectors in memory-mapped files that never change.

    ``vectors`` (n, D) are as the model gave them, ``searched`` (n, D') as ``Similarity.prepare`` leaves them.

    Args:
        folder: where its files are.
        kind: of the structure; "flat" has none.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.name = folder.name
        self.vectors: Floats32 = np.load(folder / VECTORS, mmap_mode="r")
        prepared = folder / SEARCHED
        self.searched: Floats32 = np.load(prepared, mmap_mode="r") if prepared.is_file() else self.vectors
        with pa.memory_map(str(folder / ROWS)) as file:
            self.table: pa.Table = pa.ipc.open_file(file).read_all()
        self.has_structure = (folder / STRUCTURE).is_file()
        self.kind = kind if self.has_structure else "flat"

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def ids(self) -> Indices:
        """The id of each row (n,)."""
        ids: Indices = self.table["id"].to_numpy()
        return ids

    @cached_property
    def _structure(self) -> Any:
        read = faiss.read_index_binary if self.kind == "binary" else faiss.read_index
        return read(str(self.folder / STRUCTURE))

    def candidates(
        self, queries: Floats32, k: int, space: Space, allowed: Flags | None, effort: int, exact: bool
    ) -> Indices:
        """Find the rows (Q, at most k) nearest to prepared ``queries`` (Q, D'), best first; -1: no more."""
        if allowed is not None:
            rows = np.flatnonzero(allowed)
            if not len(rows):
                return np.full((len(queries), 0), -1, dtype=np.int64)
            if exact or self.kind == "flat" or len(rows) <= max(RARE * len(self), 10 * k):
                found = nearest_rows(queries, np.ascontiguousarray(self.searched[rows]), k, space)
                return np.where(found >= 0, rows[found], -1)
        if exact or self.kind == "flat":
            return nearest_rows(queries, self.searched, k, space)
        return search_structure(self._structure, self.kind, queries, k, allowed, effort)


def nearest_rows(queries: Floats32, vectors: Floats32, k: int, space: Space) -> Indices:
    """Compare every vector with every query: rows (Q, min(k, n))."""
    # plain arrays: what other libraries put in place of faiss.knn takes no memory-mapped ones
    rows, gallery = np.asarray(queries), np.asarray(vectors)
    found: Indices = faiss.knn(rows, gallery, min(k, len(gallery)), metric=space.faiss_metric)[1]
    return found


def write_segment(
    index: Path, blocks: Iterable[Floats32], table: pa.Table, kind: str, similarity: Similarity | ArraySimilarity
) -> str:
    """Write a segment of ``index`` and return its name; nobody reads it before a manifest names it.

    Args:
        index: the index's folder.
        blocks: the embeddings (n, D) in the order of ``table``, block by block.
        table: ``id`` and the other columns (n rows).
        kind: of the structure; "flat" has none.
        similarity: by which the segment is searched.
    """
    name = uuid.uuid4().hex[:12]
    folder = index / FOLDER / name
    folder.mkdir(parents=True)
    try:
        _write_vectors(folder, blocks, len(table), similarity)
        with pa.OSFile(str(folder / ROWS), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        if kind != "flat":
            segment = Segment(folder, kind)
            structure = build_structure(kind, segment.searched, space_of(similarity))
            write = faiss.write_index_binary if kind == "binary" else faiss.write_index
            write(structure, str(folder / STRUCTURE))
        for path in (*folder.iterdir(), folder, folder.parent):
            _flush(path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return name


def prepared(similarity: Similarity | ArraySimilarity, vectors: Floats32) -> Floats32:
    """Map ``vectors`` (n, D) into the space (n, D') in which ``similarity`` is searched."""
    if similarity.search in (None, "hamming"):
        return vectors
    return np.ascontiguousarray(of_arrays(similarity).prepare(vectors), dtype=np.float32)


def _write_vectors(
    folder: Path, blocks: Iterable[Floats32], count: int, similarity: Similarity | ArraySimilarity
) -> None:
    """Write the vectors, and the prepared ones unless they are the same."""
    files: list[Any] = []
    farthest = 0.0
    done = 0
    for block in blocks:
        both = block, prepared(similarity, block)
        if not files:
            files = [
                np.lib.format.open_memmap(folder / name, mode="w+", dtype=np.float32, shape=(count, rows.shape[1]))
                for name, rows in zip((VECTORS, SEARCHED), both, strict=True)
            ]
        for file, rows in zip(files, both, strict=True):
            file[done : done + len(block)] = rows
            let_go(file)
        same = both[0].shape == both[1].shape
        farthest = max(farthest, float(np.abs(both[0] - both[1]).max(initial=0.0)) if same else np.inf)
        done += len(block)
    assert done == count, (done, count)
    for file in files:
        file.flush()
    if farthest <= SAME:
        (folder / SEARCHED).unlink()


def _flush(path: Path) -> None:
    """Wait until ``path`` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
