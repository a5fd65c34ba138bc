"""Groups the images of an index that show the same thing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from metricforge.arrays import Flags, Floats32, Indices
from metricforge.errors import EmbeddingsError
from metricforge.index.array_similarity import ArraySimilarity, name_of
from metricforge.index.hit import Hit
from metricforge.index.snapshot import Found, Snapshot

if TYPE_CHECKING:
    from metricforge.interfaces import Similarity

FIRST_K = 16  # neighbours looked for first; an image with more duplicates is searched again for more
GROWTH = 4
RESULTS_AT_ONCE = 2**18
PAIRS_AT_ONCE = 2**22
LARGEST = {"CosineSimilarity": 1.0, "EuclideanSimilarity": 0.0, "HammingSimilarity": 0.0}
ROUNDING = 1e-6  # of a float32 similarity: the same file twice may have 0.9999999


def find_duplicates(
    snapshot: Snapshot, similarity: Similarity | ArraySimilarity, threshold: float | None
) -> list[list[Hit]]:
    """Group images that are at least as similar as ``threshold`` to another of their group; None: the calibrated one.

    Pairs are those that the index's own search finds, so an approximate kind may miss some.

    Raises:
        EmbeddingsError: without a threshold, for an index that is not calibrated; for one that no similarity reaches.
        ValueError: for a threshold that is not finite.
    """
    if threshold is None:
        if snapshot.calibration is None:
            raise EmbeddingsError(
                f"{snapshot.index} is not calibrated, so it has no threshold for duplicates; run metricforge index "
                f"calibrate {snapshot.index}, or give one: --threshold 0.95"
            )
        threshold = snapshot.calibration.threshold
    if not math.isfinite(threshold):
        raise ValueError(f"threshold must be a finite similarity, got {threshold}")
    name = name_of(similarity)
    largest = LARGEST.get(name)
    if largest is not None and threshold > largest + ROUNDING:
        raise EmbeddingsError(
            f"--threshold {threshold:g}: no two images can be that similar, {name} is at most {largest:g}; "
            "metricforge search prints the similarities of images"
        )
    return _Grouping(snapshot, similarity, threshold - ROUNDING).groups()


class _Grouping:
    """Joins the images of a snapshot, numbered segment by segment, pair by pair."""

    def __init__(self, snapshot: Snapshot, similarity: Similarity | ArraySimilarity, least: float) -> None:
        self._snapshot = snapshot
        self._similarity = similarity
        self._least = least
        self._starts = np.cumsum([0, *map(len, snapshot.segments)])  # number of each segment's first row
        self._count = int(self._starts[-1])  # n, with removed rows
        self._group = np.arange(self._count)  # (n,)
        self._nearest = np.full(self._count, -np.inf, dtype=np.float32)  # (n,), similarity to another of the group
        self._pairs: list[tuple[Indices, Indices]] = []
        self._waiting = 0

    def groups(self) -> list[list[Hit]]:
        """Search for every image, and return the groups."""
        allowed = self._snapshot.allowed(None)
        for number, (segment, alive) in enumerate(zip(self._snapshot.segments, allowed, strict=True)):
            rows = np.arange(len(segment)) if alive is None else np.flatnonzero(alive)
            self._search(number, rows, allowed)
        self._join()
        return self._as_hits()

    def _search(self, segment: int, rows: Indices, allowed: list[Flags | None]) -> None:
        """Note the pairs of ``rows``; those whose neighbours are all duplicates are searched for more of them."""
        k = FIRST_K
        while len(rows):
            size = max(1, RESULTS_AT_ONCE // k)
            blocks = [rows[start : start + size] for start in range(0, len(rows), size)]
            full = [block[self._note(segment, block, k, allowed)] for block in blocks]
            if k >= self._count:
                return
            rows, k = np.concatenate(full), min(self._count, k * GROWTH)

    def _note(self, segment: int, rows: Indices, k: int, allowed: list[Flags | None]) -> Flags:
        """Note the pairs among the ``k`` nearest of ``rows`` (r,), and return which may have more (r,)."""
        vectors: Floats32 = np.ascontiguousarray(self._snapshot.segments[segment].vectors[rows])
        found = self._snapshot.search(vectors, self._similarity, k, allowed)
        for row, each in zip(rows, found, strict=True):
            image = int(self._starts[segment] + row)
            others = self._starts[each.segments] + each.rows  # (k,)
            chosen = (each.scores >= self._least) & (others != image)
            others, scores = others[chosen], each.scores[chosen]
            if len(others):
                self._pairs.append((np.full(len(others), image), others))
                self._waiting += len(others)
                self._nearest[image] = max(self._nearest[image], scores.max())
                self._nearest[others] = np.maximum(self._nearest[others], scores)
        if self._waiting > PAIRS_AT_ONCE:
            self._join()
        return np.array([len(each.scores) == k and each.scores[-1] >= self._least for each in found], dtype=bool)

    def _join(self) -> None:
        """Unite the groups of the pairs noted since the last time."""
        if not self._pairs:
            return
        ones, others = (self._group[np.concatenate(each)] for each in zip(*self._pairs, strict=True))
        graph = coo_array((np.ones(len(ones), dtype=bool), (ones, others)), shape=(self._count, self._count))
        self._group = connected_components(graph, directed=False)[1].astype(np.int64)[self._group]
        self._pairs, self._waiting = [], 0

    def _as_hits(self) -> list[list[Hit]]:
        members = np.flatnonzero(np.isfinite(self._nearest))
        members = members[np.argsort(self._group[members], kind="stable")]
        cuts = np.flatnonzero(np.diff(self._group[members])) + 1
        groups = []
        for images in np.split(members, cuts) if len(members) else []:
            numbers = np.searchsorted(self._starts, images, side="right") - 1
            hits = self._snapshot.hits(Found(self._nearest[images], numbers, images - self._starts[numbers]))
            groups.append(sorted(hits, key=lambda hit: hit.id))
        return sorted(groups, key=lambda group: (-len(group), group[0].id))
