"""The search structures an index can have, what each costs, and which to choose."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import faiss
import numpy as np

from metricforge.arrays import Flags, Floats32, Indices
from metricforge.large_arrays import ROWS_AT_ONCE, let_go, row_blocks

if TYPE_CHECKING:
    from metricforge.index.array_similarity import ArraySimilarity
    from metricforge.interfaces import Similarity

Kind = Literal["flat", "hnsw", "ivfint8", "ivfpq", "int8", "binary"]
KINDS: tuple[str, ...] = get_args(Kind)
SMALL = 50_000  # up to so many vectors, comparing all of them is fast enough
WITH_LISTS = ("ivfint8", "ivfpq")  # compare codes in the lists near the query, whose centroids they learn
CODED = (*WITH_LISTS, "int8", "binary")  # keep codes; the stored vectors put their candidates in order
LINKS = 32  # per vector in the graph of HNSW
ADDED_AT_ONCE = 2**16  # vectors; HNSW joins those of one call by level, so smaller calls give another graph
TRAINING_ROWS = 2**17
ROWS_A_LIST = 39  # of IVF, that faiss wants to learn its centroids from
LEAST_TRAINING_ROWS = 1000
SPARES = (32, 64, 128, 256, 512, 1024)  # candidates beyond k that the stored vectors put in order
SPARE = SPARES[0]
PAGE = 4096  # bytes of a file that are read at once


@dataclass(frozen=True)
class Space:
    """The space in which neighbours are searched: by the largest inner product or the smallest distance."""

    metric: Literal["ip", "l2"]

    @property
    def faiss_metric(self) -> int:
        """The metric's number in faiss."""
        return int(faiss.METRIC_INNER_PRODUCT if self.metric == "ip" else faiss.METRIC_L2)


def space_of(similarity: Similarity | ArraySimilarity) -> Space:
    """Return the space in which to search by ``similarity``; for a learned one, embedding distance."""
    return Space("ip" if similarity.search == "ip" else "l2")


def resident_bytes(kind: str, dim: int) -> float:
    """Return the bytes per vector that ``kind`` keeps in memory while searching; mapped files do not count."""
    return {
        "flat": 4 * dim,
        "hnsw": 4 * dim + 2 * LINKS * 4 + 16,
        "ivfint8": dim + 8,
        "ivfpq": _code_bytes(dim) + 8,
        "int8": dim,
        "binary": dim / 8,
    }[kind]


def choose_kind(count: int, dim: int, memory: float | None) -> Kind:
    """Choose the kind for ``count`` vectors: flat while that is fast, else the finest codes within ``memory``.

    Lists of codes take a sixth of the memory of hnsw at 128 dimensions; ``benchmarks/index.py --kind`` compares them.
    They find more the more lists are visited and candidates put in order by the stored vectors, as far as ``efforts``
    and ``spares`` go: ``planning.why_missed`` says where that ends below the recall that was asked for.
    """

    def fits(kind: Kind) -> bool:
        return memory is None or count * resident_bytes(kind, dim) <= memory

    if count <= SMALL and fits("flat"):
        return "flat"
    return "ivfint8" if fits("ivfint8") else "ivfpq"


def build_structure(
    kind: str, vectors: Floats32, space: Space, on_rows: Callable[[int], object] = lambda count: None
) -> Any:
    """Build the faiss index of ``vectors`` (N, D), read block by block; "flat" has none.

    Args:
        kind: "hnsw", "ivfint8", "ivfpq" or "int8" for vectors, "binary" for their signs.
        vectors: may be a mapped file.
        space: in which to search.
        on_rows: called with the number of vectors just added.
    """
    count, dim = vectors.shape
    structure: Any
    if kind == "hnsw":
        structure = faiss.IndexHNSWFlat(dim, LINKS, space.faiss_metric)
        structure.hnsw.efConstruction = 80
        # taken at once: a growing vector is copied into one of twice the size, and both are in memory then
        storage: Any = faiss.downcast_index(structure.storage)
        for taken, size in ((storage.codes, 4 * dim * count), (structure.hnsw.neighbors, 2 * LINKS * count)):
            taken.resize(size)
            taken.resize(0)
    elif kind == "ivfpq":
        coarse = faiss.IndexFlat(dim, space.faiss_metric)
        structure = faiss.IndexIVFPQ(coarse, dim, _lists(count), _code_bytes(dim), 8, space.faiss_metric)
        structure.pq.cp.min_points_per_centroid = 1  # faiss prints a line for each sub-vector otherwise
    elif kind == "ivfint8":
        coarse = faiss.IndexFlat(dim, space.faiss_metric)
        structure = faiss.IndexIVFScalarQuantizer(
            coarse, dim, _lists(count), faiss.ScalarQuantizer.QT_8bit, space.faiss_metric
        )
    elif kind == "int8":
        structure = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, space.faiss_metric)
    elif kind == "binary":
        structure = faiss.IndexBinaryFlat(8 * math.ceil(dim / 8))
    else:
        raise AssertionError(kind)
    if kind in (*WITH_LISTS, "int8"):
        wanted = max(TRAINING_ROWS, ROWS_A_LIST * structure.nlist) if kind in WITH_LISTS else TRAINING_ROWS
        structure.train(_rows_at(vectors, np.sort(np.random.default_rng(0).permutation(count)[:wanted])))
    for _, rows in row_blocks(vectors, ADDED_AT_ONCE):
        block = np.ascontiguousarray(rows)
        structure.add(signs(block) if kind == "binary" else block)
        on_rows(len(block))
    return structure


def search_structure(
    structure: Any, kind: str, queries: Floats32, k: int, allowed: Flags | None, effort: int
) -> Indices:
    """Find the rows (Q, k) of the nearest vectors, best first; -1 where it finds no more.

    Args:
        structure: from ``build_structure``.
        kind: its kind.
        queries: (Q, D).
        k: number of rows.
        allowed: which rows (N,) may be found; None: all.
        effort: how thorough the search is: candidates kept (HNSW) or lists visited (IVF).
    """
    selector = None
    if allowed is not None:
        bits = np.packbits(allowed, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(bits))
    k = min(k, structure.ntotal)
    if kind == "binary":
        # the flat binary search of faiss has no selector: fetch as many more rows as may not be found
        wanted = k if allowed is None else min(structure.ntotal, k + int((~allowed).sum()))
        found = structure.search(signs(queries), wanted)[1]
        return found if allowed is None else _first_allowed(found, allowed, k)
    if kind == "hnsw":
        parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=max(effort, k))  # type: ignore[attr-defined]
    elif kind in WITH_LISTS:
        parameters = faiss.SearchParametersIVF(sel=selector, nprobe=effort)  # type: ignore[call-arg]
    else:
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
    # faiss.contrib.torch_utils, once anything imports it, replaces the search of faiss by one without parameters
    search = getattr(structure, "search_numpy", structure.search)
    rows: Indices = search(queries, k, params=parameters)[1]
    return rows


def signs(vectors: Floats32) -> Any:
    """Return the signs of ``vectors`` (N, D) as packed bits (N, D/8), padded with zeros."""
    return np.packbits(vectors > 0, axis=1)


def efforts(kind: str) -> tuple[int, ...]:
    """Return the efforts that ``kind`` offers, fastest first; a single one if there is no choice."""
    if kind == "hnsw":
        return tuple(2**power for power in range(4, 13))
    return tuple(2**power for power in range(13)) if kind in WITH_LISTS else (0,)


def spares(kind: str) -> tuple[int, ...]:
    """Return how many candidates beyond k ``kind`` offers to put in order, fewest first.

    Codes rank roughly, so that the nearest may be far down; a graph compares the vectors themselves.
    """
    return SPARES if kind in CODED else (SPARE,)


def _code_bytes(dim: int) -> int:
    """Return the bytes per vector of product quantisation: the largest divisor of ``dim`` up to ``dim / 4``."""
    return max(parts for parts in range(1, max(1, dim // 4) + 1) if dim % parts == 0)


def bytes_read(kind: str, count: int, dim: int, effort: int, spare: int) -> float:
    """Return about how many bytes a search of ``count`` vectors reads: codes or nodes visited, and spare candidates."""
    visited = effort * count / _lists(count) if kind in WITH_LISTS else effort
    return visited * resident_bytes(kind, dim) + spare * max(4 * dim, PAGE)


def _lists(count: int) -> int:
    """Return the number of lists that IVF divides ``count`` vectors into."""
    return max(1, min(int(4 * math.sqrt(count)), count // 40))


def _rows_at(vectors: Floats32, rows: Indices) -> Floats32:
    """Return ``vectors[rows]`` (n, D), which of a mapped file keeps no more in memory."""
    found = np.empty((len(rows), vectors.shape[1]), dtype=np.float32)
    for place, block in row_blocks(rows, ROWS_AT_ONCE):
        found[place] = vectors[block]
        let_go(vectors)
    return found


def _first_allowed(found: Indices, allowed: Flags, k: int) -> Indices:
    """Return the first ``k`` allowed rows of each row of ``found`` (Q, n); -1 where there are fewer."""
    usable = (found >= 0) & allowed[found]
    order = np.argsort(~usable, axis=1, kind="stable")[:, :k]  # (Q, k)
    return np.where(np.take_along_axis(usable, order, axis=1), np.take_along_axis(found, order, axis=1), -1)
