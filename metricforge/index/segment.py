"""A segment: vectors that were added together, what is known of each image, and a structure to search them by."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import torch

from metricforge.arrays import Flags, Floats32, Indices
from metricforge.index.kinds import Space, build_structure, search_structure, space_of
from metricforge.interfaces import Similarity

VECTORS, SEARCHED, ROWS, STRUCTURE = "vectors.npy", "searched.npy", "rows.arrow", "structure.faiss"
FOLDER = "segments"
SAME = 1e-6  # a vector whose numbers are so near to those it is searched by is kept once
RARE = 0.05  # where at most this part of the rows may be found, they are compared one by one


class Segment:
    """``n`` vectors in mapped files; it never changes.

    ``vectors`` (n, D) are as the model gave them, ``searched`` (n, D') as ``Similarity.prepare`` leaves them.

    Args:
        folder: where its files are.
        kind: of the structure, "flat" for none.
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
        """Rows (Q, at most k) of the nearest vectors to prepared ``queries`` (Q, D'), the best first; -1: no more."""
        if allowed is not None:
            rows = np.flatnonzero(allowed)
            if not len(rows):
                return np.full((len(queries), 0), -1, dtype=np.int64)
            if exact or self.kind == "flat" or len(rows) <= max(RARE * len(self), 10 * k):
                found = _nearest(queries, np.ascontiguousarray(self.searched[rows]), k, space)
                return np.where(found >= 0, rows[found], -1)
        if exact or self.kind == "flat":
            return _nearest(queries, self.searched, k, space)
        return search_structure(self._structure, self.kind, queries, k, allowed, effort)


def _nearest(queries: Floats32, vectors: Floats32, k: int, space: Space) -> Indices:
    """Every vector compared with every query: rows (Q, min(k, n))."""
    found: Indices = faiss.knn(queries, vectors, min(k, len(vectors)), metric=space.faiss_metric)[1]
    return found


def write_segment(index: Path, blocks: Iterable[Floats32], table: pa.Table, kind: str, similarity: Similarity) -> str:
    """Writes a segment of ``index`` and gives its name; it counts once a manifest names it.

    Args:
        index: the index's folder.
        blocks: the embeddings (n, D) in the order of ``table``, block by block.
        table: ``id`` and what else is known of each row (n).
        kind: of the structure; "flat" has none.
        similarity: what is searched by.
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


def prepared(similarity: Similarity, vectors: Floats32) -> Floats32:
    """``vectors`` (n, D) in the space (n, D') in which ``similarity`` is searched."""
    if similarity.search in (None, "hamming"):
        return vectors
    with torch.inference_mode():
        rows = similarity.prepare(torch.tensor(vectors))
    return np.ascontiguousarray(rows.numpy(), dtype=np.float32)


def _write_vectors(folder: Path, blocks: Iterable[Floats32], count: int, similarity: Similarity) -> None:
    """Writes the vectors, and those that are searched by unless they are the same."""
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
        same = both[0].shape == both[1].shape
        farthest = max(farthest, float(np.abs(both[0] - both[1]).max(initial=0.0)) if same else np.inf)
        done += len(block)
    assert done == count, (done, count)
    for file in files:
        file.flush()
    if farthest <= SAME:
        (folder / SEARCHED).unlink()


def _flush(path: Path) -> None:
    """Waits until ``path`` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
