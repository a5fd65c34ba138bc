"""The search structures that an index can have, what each costs, and which fits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import faiss
import numpy as np

from metricforge.arrays import Flags, Floats32, Indices
from metricforge.interfaces import Similarity

Kind = Literal["flat", "hnsw", "ivfpq", "int8", "binary"]
KINDS: tuple[str, ...] = get_args(Kind)
SMALL = 50_000  # vectors up to which comparing all of them is quick enough
LINKS = 32  # of a vector in the graph of HNSW
ADDED_AT_ONCE = 2**16  # vectors; HNSW joins those of one call by level, so smaller calls give another graph
TRAINING_ROWS = 2**17
LEAST_TRAINING_ROWS = 1000


@dataclass(frozen=True)
class Space:
    """The space in which neighbours are searched: by the largest inner product or the smallest distance."""

    metric: Literal["ip", "l2"]

    @property
    def faiss_metric(self) -> int:
        """The number by which faiss knows it."""
        return int(faiss.METRIC_INNER_PRODUCT if self.metric == "ip" else faiss.METRIC_L2)


def space_of(similarity: Similarity) -> Space:
    """The space in which ``similarity`` is searched; a learned one by the distance of the embeddings."""
    return Space("ip" if similarity.search == "ip" else "l2")


def resident_bytes(kind: str, dim: int) -> float:
    """Bytes a vector that searching by ``kind`` keeps in memory; what is only mapped does not count."""
    return {
        "flat": 4 * dim,
        "hnsw": 4 * dim + 2 * LINKS * 4 + 16,
        "ivfpq": _code_bytes(dim) + 8,
        "int8": dim,
        "binary": dim / 8,
    }[kind]


def choose_kind(count: int, dim: int, memory: float | None) -> Kind:
    """The kind for ``count`` vectors: comparing all while that is quick, else the most accurate within ``memory``."""
    fits = [kind for kind in ("flat", "hnsw", "ivfpq") if memory is None or count * resident_bytes(kind, dim) <= memory]
    if count <= SMALL and "flat" in fits:
        return "flat"
    return "hnsw" if "hnsw" in fits else "ivfpq"


def build_structure(kind: str, vectors: Floats32, space: Space) -> Any:
    """The faiss index of ``vectors`` (N, D), read block by block; for "flat" there is none.

    Args:
        kind: "hnsw", "ivfpq" or "int8" for vectors, "binary" for their signs.
        vectors: may lie in a mapped file.
        space: what is searched by.
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
        chosen = np.sort(np.random.default_rng(0).permutation(count)[:TRAINING_ROWS])
        structure.train(np.ascontiguousarray(vectors[chosen]))
    for start in range(0, count, ADDED_AT_ONCE):
        block = np.ascontiguousarray(vectors[start : start + ADDED_AT_ONCE])
        structure.add(signs(block) if kind == "binary" else block)
    return structure


def search_structure(
    structure: Any, kind: str, queries: Floats32, k: int, allowed: Flags | None, effort: int
) -> Indices:
    """Rows (Q, k) of the nearest vectors by ``structure``, the best first, -1 where it finds no more.

    Args:
        structure: from ``build_structure``.
        kind: its kind.
        queries: (Q, D).
        k: how many.
        allowed: which rows (N,) may be found; None: all.
        effort: how hard HNSW and IVF look: candidates kept, lists visited.
    """
    selector = None
    if allowed is not None:
        bits = np.packbits(allowed, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(bits))
    k = min(k, structure.ntotal)
    if kind == "binary":
        # faiss's flat binary search has no selector: look far enough past the rows that may not be found
        wanted = k if allowed is None else min(structure.ntotal, k + int((~allowed).sum()))
        found = structure.search(signs(queries), wanted)[1]
        return found if allowed is None else _first_allowed(found, allowed, k)
    if kind == "hnsw":
        parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=max(effort, k))  # type: ignore[attr-defined]
    elif kind == "ivfpq":
        parameters = faiss.SearchParametersIVF(sel=selector, nprobe=effort)  # type: ignore[call-arg]
    else:
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
    rows: Indices = structure.search(queries, k, params=parameters)[1]
    return rows


def signs(vectors: Floats32) -> Any:
    """The signs of ``vectors`` (N, D) as packed bits (N, D/8), filled up with zeros."""
    return np.packbits(vectors > 0, axis=1)


def efforts(kind: str) -> tuple[int, ...]:
    """How hard a search may look, from the quickest on; one value where there is no choice."""
    return {"hnsw": (16, 32, 64, 128, 256, 512), "ivfpq": (1, 2, 4, 8, 16, 32, 64, 128, 256)}.get(kind, (0,))


def _code_bytes(dim: int) -> int:
    """Bytes that product quantisation keeps of a vector: the largest divisor of ``dim`` up to a quarter of it."""
    return max(parts for parts in range(1, max(1, dim // 4) + 1) if dim % parts == 0)


def _first_allowed(found: Indices, allowed: Flags, k: int) -> Indices:
    """The first ``k`` of each row of ``found`` (Q, n) that are allowed, -1 where there are fewer."""
    right = (found >= 0) & allowed[found]
    order = np.argsort(~right, axis=1, kind="stable")[:, :k]  # (Q, k)
    return np.where(np.take_along_axis(right, order, axis=1), np.take_along_axis(found, order, axis=1), -1)
