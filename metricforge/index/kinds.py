"""The search structures an index can have, what each costs, and which to choose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import faiss
import numpy as np

from metricforge.arrays import Flags, Floats32, Indices
from metricforge.large_arrays import row_blocks

if TYPE_CHECKING:
    from metricforge.index.array_similarity import ArraySimilarity
    from metricforge.interfaces import Similarity

Kind = Literal["flat", "hnsw", "ivfpq", "int8", "binary"]
KINDS: tuple[str, ...] = get_args(Kind)
SMALL = 50_000  # up to so many vectors, comparing all of them is fast enough
LINKS = 32  # per vector in the graph of HNSW
ADDED_AT_ONCE = 2**16  # vectors; HNSW joins those of one call by level, so smaller calls give another graph
TRAINING_ROWS = 2**17
ROWS_A_LIST = 39  # of IVF, that faiss wants to learn its centroids from
LEAST_TRAINING_ROWS = 1000


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
        "ivfpq": _code_bytes(dim) + 8,
        "int8": dim,
        "binary": dim / 8,
    }[kind]


def choose_kind(count: int, dim: int, memory: float | None) -> Kind:
    """Choose the kind for ``count`` vectors: flat while that is fast, else the most accurate within ``memory``."""
    fits = [kind for kind in ("flat", "hnsw", "ivfpq") if memory is None or count * resident_bytes(kind, dim) <= memory]
    if count <= SMALL and "flat" in fits:
        return "flat"
    return "hnsw" if "hnsw" in fits else "ivfpq"


def build_structure(kind: str, vectors: Floats32, space: Space) -> Any:
    """Build the faiss index of ``vectors`` (N, D), read block by block; "flat" has none.

    Args:
        kind: "hnsw", "ivfpq" or "int8" for vectors, "binary" for their signs.
        vectors: may be a mapped file.
        space: in which to search.
    """
    count, dim = vectors.shape
    structure: Any
    if kind == "hnsw":
        structure = faiss.IndexHNSWFlat(dim, LINKS, space.faiss_metric)
        structure.hnsw.efConstruction = 80
    elif kind == "ivfpq":
        lists = max(1, min(int(4 * math.sqrt(count)), count // 40))
        coarse = faiss.IndexFlat(dim, space.faiss_metric)
        structure = faiss.IndexIVFPQ(coarse, dim, lists, _code_bytes(dim), 8, space.faiss_metric)
    elif kind == "int8":
        structure = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, space.faiss_metric)
    elif kind == "binary":
        structure = faiss.IndexBinaryFlat(8 * math.ceil(dim / 8))
    else:
        raise AssertionError(kind)
    if kind in ("ivfpq", "int8"):
        wanted = max(TRAINING_ROWS, ROWS_A_LIST * structure.nlist) if kind == "ivfpq" else TRAINING_ROWS
        chosen = np.sort(np.random.default_rng(0).permutation(count)[:wanted])
        structure.train(np.ascontiguousarray(vectors[chosen]))
    for _, rows in row_blocks(vectors, ADDED_AT_ONCE):
        block = np.ascontiguousarray(rows)
        structure.add(signs(block) if kind == "binary" else block)
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
    elif kind == "ivfpq":
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
    return {"hnsw": (16, 32, 64, 128, 256, 512), "ivfpq": (1, 2, 4, 8, 16, 32, 64, 128, 256)}.get(kind, (0,))


def _code_bytes(dim: int) -> int:
    """Return the bytes per vector of product quantisation: the largest divisor of ``dim`` up to ``dim / 4``."""
    return max(parts for parts in range(1, max(1, dim // 4) + 1) if dim % parts == 0)


def _first_allowed(found: Indices, allowed: Flags, k: int) -> Indices:
    """Return the first ``k`` allowed rows of each row of ``found`` (Q, n); -1 where there are fewer."""
    usable = (found >= 0) & allowed[found]
    order = np.argsort(~usable, axis=1, kind="stable")[:, :k]  # (Q, k)
    return np.where(np.take_along_axis(usable, order, axis=1), np.take_along_axis(found, order, axis=1), -1)
