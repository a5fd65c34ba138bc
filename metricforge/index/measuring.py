"""Measures on images of an index how well and how fast it is searched."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metricforge.arrays import Floats32, Indices
from metricforge.index.kinds import bytes_read, efforts, spares
from metricforge.index.manifest import Manifest
from metricforge.index.segment import Segment
from metricforge.index.snapshot import Found, Snapshot

if TYPE_CHECKING:
    from metricforge.index.array_similarity import ArraySimilarity
    from metricforge.interfaces import Similarity

SAMPLE = 200  # images on which recall and speed are measured


def measure_search(
    index: Path, manifest: Manifest, similarity: Similarity | ArraySimilarity, recall: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the cheapest settings that reach ``recall`` on a sample of the images, and what was measured.

    Where none does, these are the most thorough ones.

    Args:
        index: the index's folder.
        manifest: names its segments, from which nothing was removed; its settings are kept beside those found.
        similarity: the model's.
        recall: share of the ten nearest images that are to be found, above 0 and at most 1.
    """
    snapshot = Snapshot(index, manifest, {})
    segments = {segment.name: segment for segment in snapshot.segments}
    starts = np.cumsum([0, *map(len, snapshot.segments)])  # number of each segment's first row
    count = int(starts[-1])
    draws = np.random.default_rng(0)
    chosen = np.sort(draws.choice(count, size=min(SAMPLE, count), replace=False, shuffle=False))  # (S,)
    queries = _vectors(snapshot.segments, starts, chosen)
    k = min(11, count)  # one more than ten: a sampled image finds itself
    allowed = snapshot.allowed(None)

    def numbers(found: list[Found]) -> list[Indices]:
        return [starts[each.segments] + each.rows for each in found]

    exact = numbers(snapshot.search(queries, similarity, k, allowed, exact=True))

    def tried(effort: int, spare: int) -> dict[str, Any]:
        settings = {**manifest.settings, "effort": effort, "spare": spare}
        state = Snapshot(index, replace(manifest, settings=settings), segments)
        started = time.perf_counter()
        found = numbers(state.search(queries, similarity, k, allowed))
        seconds = time.perf_counter() - started
        shares = {f"recall@{n}": _share(chosen, exact, found, n) for n in (1, 10)}
        return {"settings": settings, **shares, "milliseconds_a_query": 1000 * seconds / len(queries)}

    measured = _cheapest(recall, manifest.kind, max(map(len, snapshot.segments)), manifest.dim, tried)
    settings = measured.pop("settings")
    stored = sum(
        file.stat().st_size
        for segment in snapshot.segments
        for file in segment.folder.iterdir()
        if file.suffix != ".arrow"
    )
    return settings, {
        **measured,
        "bytes_a_vector": stored / count,
        "sample": len(queries),
        "wanted_recall": recall,
    }


def _cheapest(
    recall: float, kind: str, rows: int, dim: int, tried: Callable[[int, int], dict[str, Any]]
) -> dict[str, Any]:
    """Return what ``tried`` gives for the effort and spare candidates that read least and reach ``recall``.

    More of either never finds less, so that one walk along the edge of those that reach it sees all that can be best.
    """
    effort, spare = list(efforts(kind)), list(spares(kind))
    last: dict[str, Any] = {}
    reached: list[tuple[float, dict[str, Any]]] = []
    while effort and spare:
        last = tried(effort[0], spare[-1])
        if last["recall@10"] >= recall:
            reached.append((bytes_read(kind, rows, dim, effort[0], spare.pop()), last))
        else:
            effort.pop(0)
    return min(reached, key=lambda each: each[0])[1] if reached else last


def _vectors(segments: list[Segment], starts: Indices, numbers: Indices) -> Floats32:
    """Return the vectors (S, D) of the images ``numbers`` (S,), counted through all segments in ascending order."""
    of_segments = [
        segment.vectors[numbers[(numbers >= start) & (numbers < start + len(segment))] - start]
        for segment, start in zip(segments, starts[:-1], strict=True)
    ]
    return np.ascontiguousarray(np.concatenate(of_segments))


def _share(queries: Indices, exact: list[Indices], found: list[Indices], n: int) -> float:
    """Return the mean share of each query's ``n`` nearest other images that are among the ``n`` found, 1 of none."""
    shares = []
    for query, nearest, rows in zip(queries, exact, found, strict=True):
        wanted, got = (each[each != query][:n] for each in (nearest, rows))
        shares.append(len(np.intersect1d(wanted, got)) / len(wanted) if len(wanted) else 1.0)
    return float(np.mean(shares))
