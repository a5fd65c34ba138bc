"""A segment: vectors that were added together, the columns of their images, and a structure to search them by."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import pyarrow as pa

from metricforge.arrays import Flags, Floats32, Indices
from metricforge.errors import IndexFileError
from metricforge.index.array_similarity import ArraySimilarity, of_arrays
from metricforge.index.kinds import Space, build_structure, search_structure, space_of
from metricforge.large_arrays import let_go, mapped_array, row_blocks

if TYPE_CHECKING:
    from metricforge.interfaces import Similarity

VECTORS, SEARCHED, ROWS, STRUCTURE = "vectors.npy", "searched.npy", "rows.arrow", "structure.faiss"
FOLDER = "segments"
SEGMENT_ROWS = 10_000_000  # images that one segment has at most, unless told
SAME = 1e-6  # vectors that ``prepare`` changes by no more than this are stored once
BYTES_AT_ONCE = 2**26  # of mapped vectors that are compared in one piece, and stay in memory after it
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
        self.vectors: Floats32 = mapped_array(folder / VECTORS)
        prepared = folder / SEARCHED
        self.searched: Floats32 = mapped_array(prepared) if prepared.is_file() else self.vectors
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
        file = self.folder / STRUCTURE
        try:
            if self.kind == "binary":
                return faiss.read_index_binary(str(file))
            # mapped, so that a search reads what it visits, and processes share it
            return faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as fault:
            reason = str(fault).splitlines()[0].rpartition("Error: ")[2]
            raise IndexFileError(f"{file} is damaged ({reason}); build the index again") from fault

    def rest(self) -> None:
        """Let go of what a search has read of the vectors, if they are large."""
        for vectors in (self.vectors, self.searched):
            if vectors.nbytes > BYTES_AT_ONCE:
                let_go(vectors)

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
    """Compare every vector with every query: rows (Q, min(k, n)); large mapped ``vectors`` are read in blocks."""
    # plain arrays: what other libraries put in place of faiss.knn takes no memory-mapped ones
    rows, sign = np.asarray(queries), -1 if space.metric == "ip" else 1
    step = max(1, BYTES_AT_ONCE // max(1, 4 * vectors.shape[1]))
    if len(vectors) <= step:
        found: Indices = faiss.knn(rows, np.asarray(vectors), min(k, len(vectors)), metric=space.faiss_metric)[1]
        return found
    best = np.empty((len(rows), 0), dtype=np.float32), np.empty((len(rows), 0), dtype=np.int64)
    for place, block in row_blocks(vectors, step):
        far, near = faiss.knn(rows, np.asarray(block), min(k, len(block)), metric=space.faiss_metric)
        distances = np.concatenate([best[0], sign * far], axis=1)  # (Q, <= 2 k)
        numbers = np.concatenate([best[1], near + place.start], axis=1)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(distances, order, axis=1), np.take_along_axis(numbers, order, axis=1)
    return best[1]


def write_segments(
    index: Path,
    blocks: Iterable[Floats32],
    table: pa.Table,
    kind: str,
    similarity: Similarity | ArraySimilarity,
    segment_rows: int,
) -> tuple[str, ...]:
    """Write segments of nearly equal size, at most ``segment_rows`` images each; otherwise as ``write_segment``."""
    parts = cut_evenly(len(table), segment_rows)
    waiting = _Rows(blocks)
    names: list[str] = []
    try:
        for part in parts:
            rows = table.slice(part.start, len(part))
            names.append(write_segment(index, waiting.take(len(part)), rows, kind, similarity))
    except BaseException:
        for name in names:
            shutil.rmtree(index / FOLDER / name, ignore_errors=True)
        raise
    return tuple(names)


def cut_evenly(count: int, largest: int) -> list[range]:
    """Cut ``range(count)`` into as few pieces of at most ``largest`` as there can be, nearly equal in size."""
    pieces = -(-count // largest)
    ends = [count * piece // pieces for piece in range(pieces + 1)] if pieces else []
    return [range(start, end) for start, end in pairwise(ends)]


class _Rows:
    """A stream of blocks, from which the next rows are taken whatever the blocks' sizes."""

    def __init__(self, blocks: Iterable[Floats32]) -> None:
        self._blocks = iter(blocks)
        self._rest: Floats32 | None = None

    def take(self, count: int) -> Iterator[Floats32]:
        """Yield the next ``count`` rows, block by block."""
        while count:
            block = next(self._blocks) if self._rest is None else self._rest
            block, self._rest = block[:count], block[count:] if len(block) > count else None
            count -= len(block)
            yield block


def write_segment(
    index: Path,
    blocks: Iterable[Floats32],
    table: pa.Table,
    kind: str,
    similarity: Similarity | ArraySimilarity,
    on_rows: Callable[[int], object] = lambda count: None,
) -> str:
    """Write a segment of ``index`` and return its name; nobody reads it before a manifest names it.

    Args:
        index: the index's folder.
        blocks: the embeddings (n, D) in the order of ``table``, block by block.
        table: ``id`` and the other columns (n rows).
        kind: of the structure; "flat" has none.
        similarity: by which the segment is searched.
        on_rows: called with the number of vectors just added to the structure.
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
            structure = build_structure(kind, segment.searched, space_of(similarity), on_rows)
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
