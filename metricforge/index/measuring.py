"""Measures on images of an index how well and how fast it is searched."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metricforge.index.kinds import efforts
from metricforge.index.manifest import Manifest
from metricforge.index.snapshot import Snapshot

if TYPE_CHECKING:
    from metricforge.index.array_similarity import ArraySimilarity
    from metricforge.interfaces import Similarity

SAMPLE = 200  # images on which recall and speed are measured


def measure_search(
    index: Path, manifest: Manifest, similarity: Similarity | ArraySimilarity, recall: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of least effort that reach ``recall`` on a sample of the images, and what was measured.

    Args:
        index: the index's folder.
        manifest: names its only segment.
        similarity: the model's.
        recall: share of the ten nearest images that are to be found, above 0 and at most 1.
    """
    snapshot = Snapshot(index, manifest, {})
    segment = snapshot.segments[0]
    chosen = np.sort(np.random.default_rng(0).permutation(len(segment))[:SAMPLE])
    queries = np.ascontiguousarray(segment.vectors[chosen])
    k = min(11, len(segment))  # one more than ten: a sampled image finds itself
    allowed = snapshot.allowed(None)
    exact = [each.rows for each in snapshot.search(queries, similarity, k, allowed, exact=True)]
    for effort in efforts(manifest.kind):
        settings = {"effort": effort}
        tried = Snapshot(index, replace(manifest, settings=settings), {segment.name: segment})
        started = time.perf_counter()
        found = [each.rows for each in tried.search(queries, similarity, k, allowed)]
        seconds = time.perf_counter() - started
        shares = {f"recall@{n}": _share(chosen, exact, found, n) for n in (1, 10)}
        if shares["recall@10"] >= recall:
            break
    stored = sum(file.stat().st_size for file in segment.folder.iterdir() if file.suffix != ".arrow")
    return settings, {
        **shares,
        "milliseconds_a_query": 1000 * seconds / len(queries),
        "bytes_a_vector": stored / len(segment),
        "sample": len(queries),
        "wanted_recall": recall,
    }


def _share(queries: Any, exact: list[Any], found: list[Any], n: int) -> float:
    """Return the mean share of each query's ``n`` nearest other images that are among the ``n`` found."""
    shares = []
    for query, nearest, rows in zip(queries, exact, found, strict=True):
        wanted, got = (each[each != query][:n] for each in (nearest, rows))
        shares.append(len(np.intersect1d(wanted, got)) / max(1, len(wanted)))
    return float(np.mean(shares))
