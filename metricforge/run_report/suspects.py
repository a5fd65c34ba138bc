"""Images whose label looks wrong, and pairs that are nearly the same picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from metricforge.arrays import Floats32, Indices
from metricforge.datasets.decoding.eight_bit_rgb import eight_bit_rgb
from metricforge.evaluation.context import EvaluationContext
from metricforge.run_report.retrieval import Retrieval

NEIGHBOURS = 10
AGREEMENT = 0.8  # share of the neighbours that are of one other class
CANDIDATES = 400  # nearest pairs whose pixels are compared
THUMBNAIL = 16
ALIKE = 0.98  # correlation of grey thumbnails, as `metricforge data check` wants it


@dataclass(frozen=True)
class DoubtfulLabel:
    """The query with index ``query``: the ``share`` of its nearest that are of class ``likely``, none of its own."""

    query: int
    likely: int
    share: float


@dataclass(frozen=True)
class NearDuplicate:
    """A ``query`` and a gallery ``image``, by their indices, and the ``correlation`` of their grey thumbnails."""

    query: int
    image: int
    correlation: float


def doubtful_labels(context: EvaluationContext, retrieval: Retrieval, count: int) -> list[DoubtfulLabel]:
    """The ``count`` queries whose neighbours agree most on another class, the clearest first.

    Of the nearest ten, or fewer if there are fewer, none is of the query's class and at least ``AGREEMENT`` are of one
    other. Among equal shares, the nearest first.
    """
    depth = min(NEIGHBOURS, retrieval.found.shape[1])
    labels = np.sort(retrieval.labels[:, :depth], axis=1)  # (Q, k)
    alone = ~retrieval.is_match[:, :depth].any(axis=1) & context.task.has_match
    most, likely = np.zeros(len(labels), dtype=np.int64), labels[:, 0].copy()
    run = np.ones(len(labels), dtype=np.int64)
    for rank in range(depth):
        if rank:
            run = np.where(labels[:, rank] == labels[:, rank - 1], run + 1, 1)
        longer = run > most
        most[longer], likely[longer] = run[longer], labels[longer, rank]
    shares = most / depth
    chosen = np.flatnonzero(alone & (shares >= AGREEMENT))
    order = np.lexsort((retrieval.distances[chosen, 0], -shares[chosen]))[:count]
    return [DoubtfulLabel(int(query), int(likely[query]), float(shares[query])) for query in chosen[order]]


def near_duplicates(
    context: EvaluationContext,
    retrieval: Retrieval,
    load_query: Callable[[int], Image.Image],
    load_image: Callable[[int], Image.Image],
    count: int,
) -> list[NearDuplicate]:
    """The ``count`` nearest pairs whose pictures hardly differ, of the ``CANDIDATES`` pairs of smallest distance.

    Args:
        context: of the evaluation.
        retrieval: what each query found.
        load_query: gives the picture of a query's id.
        load_image: gives that of a gallery image's id.
        count: how many to list.
    """
    queries, images = _nearest_pairs(context, retrieval)
    assert context.queries.ids is not None
    assert context.gallery.ids is not None
    found = []
    for query, image in zip(queries.tolist(), images.tolist(), strict=True):
        one = _grey(load_query(int(context.queries.ids[query])))
        other = _grey(load_image(int(context.gallery.ids[image])))
        if one is None or other is None:
            continue
        correlation = float((one * other).sum())
        if correlation >= ALIKE:
            found.append(NearDuplicate(query, image, correlation))
        if len(found) == count:
            break
    return found


def _nearest_pairs(context: EvaluationContext, retrieval: Retrieval) -> tuple[Indices, Indices]:
    """Each query with its nearest, by rising distance; within one set a pair stands once."""
    queries, images = np.arange(len(retrieval.found)), retrieval.found[:, 0]
    order = np.argsort(retrieval.distances[:, 0], kind="stable")
    queries, images = queries[order], images[order]
    if context.searches_itself:
        pairs = np.sort(np.stack([queries, images], axis=1), axis=1)
        _, first = np.unique(pairs, axis=0, return_index=True)
        kept = np.sort(first)
        queries, images = queries[kept], images[kept]
    return queries[:CANDIDATES], images[:CANDIDATES]


def _grey(image: Image.Image) -> Floats32 | None:
    """A thumbnail (256,) of mean 0 and length 1; None of one colour."""
    small = eight_bit_rgb(image).convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32).ravel()
    pixels -= pixels.mean()
    length = np.linalg.norm(pixels)
    return None if length < THUMBNAIL else pixels / length
