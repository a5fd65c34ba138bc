"""Exact nearest neighbours of packed bits, where ties are the rule."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import torch

from metricforge.arrays import Array, Bytes, Indices
from metricforge.functional.binary_codes import pack_bits
from metricforge.interfaces import Similarity
from metricforge.large_arrays import ROWS_AT_ONCE

SPARE = 32  # neighbours fetched beyond k, so that ties at rank k rarely need a second search

Codes = Bytes


def hamming_knn(queries: Codes | None, gallery: Codes, k: int, *, distances_at_once: int = 2**24) -> Indices:
    """Indices (Q, k) of the ``k`` codes of ``gallery`` (G, bytes) with the fewest bits unlike each query's, best first.

    Ties go to the smaller index. faiss's binary index says how far the k-th is; whoever is as near or nearer is then
    known, and sorted by distance and index.

    Args:
        queries: (Q, bytes); None searches the gallery with itself, each code left out of its own neighbours.
        gallery: packed bits.
        k: at most G, or G - 1 where the gallery is searched with itself.
        distances_at_once: at most so many are held in memory, but no fewer than one query's.
    """
    index = faiss.IndexBinaryFlat(8 * gallery.shape[1])
    index.add(gallery)
    searched = gallery if queries is None else queries
    first = k if queries is None else k - 1  # where the k-th distance stands: the query itself is at distance 0
    neighbours = np.empty((len(searched), k), dtype=np.int64)
    rows = max(1, distances_at_once // len(gallery))
    for start in range(0, len(searched), rows):
        block = searched[start : start + rows]  # (b, bytes)
        itself = np.arange(start, start + len(block)) if queries is None else np.full(len(block), -1)  # (b,)
        distances, found = index.search(block, min(first + 1 + SPARE, len(gallery)))  # (b, k + SPARE)
        keys = distances.astype(np.int64) * len(gallery) + found  # sorts by distance, then index
        keys[found == itself[:, None]] = np.iinfo(np.int64).max
        neighbours[start : start + len(block)] = np.sort(keys, axis=1)[:, :k] % len(gallery)
        if distances.shape[1] < len(gallery):
            # faiss keeps any of those that tie at the last rank it returns
            undecided = distances[:, first] == distances[:, -1]
            for radius in np.unique(distances[undecided, first]):
                tied = (undecided & (distances[:, first] == radius)).nonzero()[0]
                neighbours[start + tied] = _within(index, block[tied], int(radius), itself[tied], k)
    return neighbours


def _within(index: Any, codes: Codes, radius: int, itself: Indices, k: int) -> Indices:
    """The ``k`` nearest (b, k) of ``codes`` (b, bytes), each of which has as many within ``radius``."""
    limits, distances, found = index.range_search(codes, radius + 1)  # faiss leaves the radius itself out
    query = np.repeat(np.arange(len(codes)), np.diff(limits.astype(np.int64)))  # (hits,)
    other = found != itself[query]
    query, distances, found = query[other], distances[other], found[other]
    order = np.lexsort((found, distances, query))  # (hits,)
    firsts = np.searchsorted(query, np.arange(len(codes)))  # (b,)
    return found[order][firsts[:, None] + np.arange(k)]


@torch.no_grad()
def packed_embeddings(embeddings: Array, similarity: Similarity, device: torch.device) -> Codes:
    """The bits (N, D / 8) of what ``similarity.prepare`` makes of ``embeddings`` (N, D), on the host.

    Converted block by block: the whole set never stands in memory as floats again.

    Raises:
        ValueError: unless what ``prepare`` gives has a multiple of 8 dimensions.
    """
    blocks = []
    for start in range(0, len(embeddings), ROWS_AT_ONCE):
        block = torch.from_numpy(np.array(embeddings[start : start + ROWS_AT_ONCE], dtype=np.float32)).to(device)
        blocks.append(pack_bits(similarity.prepare(block)).cpu().numpy())  # (rows, D / 8)
    return np.concatenate(blocks)
