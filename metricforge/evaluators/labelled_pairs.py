"""Pairs of a query and a gallery image, of one class or of two, all of them or a sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metricforge.arrays import Indices
from metricforge.evaluation.context import EvaluationContext


class LabelledPairs(NamedTuple):
    """``queries`` (P,) and ``images`` (P,), places in the query set and in the gallery, sorted by query.

    ``available`` says how many such pairs there are altogether.
    """

    queries: Indices
    images: Indices
    available: int


def labelled_pairs(context: EvaluationContext, *, positive: bool, limit: int | None, seed: int) -> LabelledPairs:
    """Pairs of one class if ``positive``, else of two: all, or where they exceed ``limit`` as many drawn evenly.

    A set that is searched in itself gives each unordered pair once; an image is never paired with itself.
    """
    order = np.argsort(context.gallery.labels, kind="stable")  # (G,): the gallery, class by class
    labels = context.gallery.labels[order]
    first = np.searchsorted(labels, context.queries.labels, side="left")  # (Q,): its class is first..end - 1
    end = np.searchsorted(labels, context.queries.labels, side="right")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    own = np.where(context.self_index >= 0, place[context.self_index], -1)  # (Q,)
    if context.searches_itself:  # only with what comes after it
        counts = end - own - 1 if positive else len(order) - end  # (Q,)
    else:
        counts = end - first - (own >= 0) if positive else len(order) - (end - first)
    ends = np.cumsum(counts)  # (Q,): pairs are numbered query by query
    available = int(ends[-1])
    if limit is None or available <= limit:
        chosen = np.arange(available)
    else:
        generator = np.random.default_rng([seed, positive])
        chosen = np.sort(generator.choice(available, limit, replace=False, shuffle=False))
    query = np.searchsorted(ends, chosen, side="right")  # (P,)
    nth = chosen - (ends - counts)[query]  # (P,)
    if context.searches_itself:
        image = nth + (own[query] + 1 if positive else end[query])
    elif positive:
        image = first[query] + nth
        image += (own[query] >= 0) & (image >= own[query])
    else:
        image = np.where(nth < first[query], nth, nth + (end - first)[query])
    return LabelledPairs(query, order[image], available)
