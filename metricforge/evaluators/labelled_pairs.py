"""Lists or samples pairs of a query and a gallery image, of the same class or of different classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metricforge.arrays import Indices
from metricforge.interfaces import EvaluationContext


class LabelledPairs(NamedTuple):
    """Pairs by their indices: ``queries`` (P,) in the query set, ascending, and ``images`` (P,) in the gallery.

    ``available`` is how many such pairs there are in all.
    """

    queries: Indices
    images: Indices
    available: int


def labelled_pairs(context: EvaluationContext, *, positive: bool, limit: int | None, seed: int) -> LabelledPairs:
    """List pairs of the same class if ``positive``, else of different classes; beyond ``limit``, a uniform sample.

    Within one set each unordered pair is listed once; an image is never paired with itself.
    """
    order = np.argsort(context.gallery.labels, kind="stable")  # (G,): the gallery, class by class
    labels = context.gallery.labels[order]
    first = np.searchsorted(labels, context.queries.labels, side="left")  # (Q,): its class is first..end - 1
    end = np.searchsorted(labels, context.queries.labels, side="right")
    position = np.empty(len(order), dtype=np.int64)  # of each gallery image in this order
    position[order] = np.arange(len(order))
    own = np.where(context.self_index >= 0, position[context.self_index], -1)  # (Q,)
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
