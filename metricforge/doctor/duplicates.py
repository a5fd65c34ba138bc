"""Exact and near duplicates."""

from __future__ import annotations

import faiss
import numpy as np

from metricforge.arrays import Bytes, Floats32, Indices
from metricforge.doctor.examine import Examination

NEAR_BITS = 8  # of the 64 of a perceptual hash
NEAR_CORRELATION = 0.98  # of the thumbnails: drawings of a few strokes share a hash, but not this
QUERIES_AT_ONCE = 16_384


def exact_duplicates(found: Examination) -> list[tuple[int, ...]]:
    """Groups of two or more images with the same pixels, each in index order, sorted by their first."""
    readable = np.setdiff1d(np.arange(len(found.digests)), np.fromiter(found.errors, dtype=np.int64))
    _, group, counts = np.unique(found.digests[readable], return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    members = np.flatnonzero(counts[group] > 1)
    order = members[np.argsort(group[members], kind="stable")]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    groups = [tuple(readable[part].tolist()) for part in np.split(order, starts)[1:]]
    return sorted(groups)


def near_duplicates(found: Examination) -> list[tuple[int, int]]:
    """Pairs of near duplicates, whose pixels differ; of images with the same pixels only the first counts.

    Their perceptual hashes differ in at most 8 of 64 bits and their thumbnails correlate by at least 0.98. All pairs
    are compared, by faiss: time grows with the square of their number.
    """
    readable = np.setdiff1d(np.arange(len(found.digests)), np.fromiter(found.errors, dtype=np.int64))
    if not len(readable):
        return []
    _, first = np.unique(found.digests[readable], return_index=True)
    images = np.sort(readable[first])  # (M,)
    codes = np.ascontiguousarray(found.hashes[images])  # (M, 8)
    index = faiss.IndexBinaryFlat(64)
    index.add(codes)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(images), QUERIES_AT_ONCE):
        limits, _, others = index.range_search(codes[start : start + QUERIES_AT_ONCE], NEAR_BITS + 1)
        counts = np.asarray(limits[1:] - limits[:-1], dtype=np.int64)
        one = np.repeat(np.arange(start, start + len(counts)), counts)  # (P,)
        later = others > one
        one, two = images[one[later]], images[others[later]]
        alike = _correlation(found.thumbnails, one, two) >= NEAR_CORRELATION
        pairs += zip(one[alike].tolist(), two[alike].tolist(), strict=True)
    return sorted(pairs)


def _correlation(thumbnails: Bytes, one: Indices, two: Indices) -> Floats32:
    """Pearson's, of the thumbnails of each pair (P,); images of one colour agree with each other alone."""
    result = np.empty(len(one), dtype=np.float32)
    for start in range(0, len(one), QUERIES_AT_ONCE):
        here = slice(start, start + QUERIES_AT_ONCE)
        a, b = (thumbnails[side[here]].astype(np.float32) for side in (one, two))  # (P', 256)
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        both_flat = (np.abs(a).max(axis=1) < 1) & (np.abs(b).max(axis=1) < 1)
        result[here] = np.where(both_flat, 1, (a * b).sum(axis=1) / np.maximum(lengths, 1e-6))
    return result
