"""Finds each query's own image in the gallery, which its ranking leaves out."""

from __future__ import annotations

import numpy as np

from metricforge.arrays import Indices
from metricforge.structures import EmbeddingSet


def find_self_matches(queries: EmbeddingSet, gallery: EmbeddingSet) -> Indices:
    """Return the gallery index (Q,) of the image with each query's id; -1 if the gallery does not have it."""
    assert queries.ids is not None
    assert gallery.ids is not None
    order = np.argsort(gallery.ids)
    nth = np.searchsorted(gallery.ids, queries.ids, sorter=order).clip(max=len(order) - 1)  # (Q,)
    index = order[nth]
    return np.where(gallery.ids[index] == queries.ids, index, -1)
