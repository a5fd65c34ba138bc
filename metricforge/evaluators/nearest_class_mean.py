"""Classification by the nearest mean of a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from metricforge.arrays import Array, Indices
from metricforge.evaluation.evaluator import QueryEvaluator
from metricforge.evaluators.class_means import TIE, sums_of_classes, vectors_to_average
from metricforge.evaluators.cutoffs import checked_ks
from metricforge.interfaces import EvaluationContext
from metricforge.registry import EVALUATORS

QUERIES_AT_ONCE = 128
MEANS_AT_ONCE = 1024


@EVALUATORS.register_module()
class NearestClassMean(QueryEvaluator):
    """The share of queries with the mean of their class among the K nearest class means, as ``ncm@K``, in 0..1.

    Flat nearest-class-mean classification: every class counts alike. Each class of the gallery is represented by the
    mean of its images as the similarity prepares them (unit vectors for cosine; the majority of each bit for Hamming),
    and a query is compared with the means by the same similarity. A query that is in the gallery is left out of its
    own class's mean, which would otherwise have seen the answer. Queries without a match in the gallery are left out.
    Similarities within 1e-13 of each other (of their size, above 1) tie, and the smaller label goes first.

    Args:
        ks: the values of K; one that is beyond the number of classes is reached by every query.

    Raises:
        ValueError: unless ``ks`` are distinct integers >= 1.
    """

    def __init__(self, ks: Sequence[int] = (1, 5)) -> None:
        self.ks = checked_ks(ks)

    def per_query(self, context: EvaluationContext) -> dict[str, Array]:
        rank = _rank_of_own_class(context)  # (Q,)
        return {f"ncm@{k}": rank <= k for k in self.ks}

    def protocol(self) -> dict[str, object]:
        return {"ks": list(self.ks), "means": "of the gallery's classes, without the query itself"}


@torch.no_grad()
def _rank_of_own_class(context: EvaluationContext) -> Indices:
    """The rank of each query's class among all classes (Q,), 1 = nearest; beyond all for queries without a match."""
    similarity, device = context.similarity, context.device
    classes, of_image, sizes = np.unique(context.gallery.labels, return_inverse=True, return_counts=True)
    sums = sums_of_classes(context.gallery.embeddings, of_image, len(classes), similarity, device)  # (C, D')
    counts = torch.from_numpy(sizes).to(sums)[:, None]  # (C, 1)
    means = sums / counts
    answerable = context.matches.nonzero()[0]
    own_class = torch.from_numpy(np.searchsorted(classes, context.queries.labels[answerable])).to(device)  # (q,)
    in_gallery = torch.from_numpy(context.self_index[answerable] >= 0).to(sums)[:, None]  # (q, 1)
    rank = np.full(len(context.queries), len(classes) + 1)
    for start in range(0, len(answerable), QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        query = vectors_to_average(context.queries.embeddings[answerable[block]], similarity, device)  # (b, D')
        own = own_class[block]  # (b,)
        others = (sums[own] - in_gallery[block] * query) / (counts[own] - in_gallery[block])  # (b, D')
        reached = similarity.pairwise(query, others).diagonal()[:, None]  # (b, 1)
        tie = TIE * reached.abs().clamp_min(1)  # (b, 1)
        before = torch.zeros(len(query), dtype=torch.int64, device=device)  # (b,)
        for first in range(0, len(means), MEANS_AT_ONCE):
            scores = similarity.pairwise(query, means[first : first + MEANS_AT_ONCE])  # (b, c)
            number = torch.arange(first, first + scores.shape[1], device=device)  # (c,)
            nearer = (scores > reached + tie) | ((scores >= reached - tie) & (number < own[:, None]))
            before += (nearer & (number != own[:, None])).sum(dim=1)
        rank[answerable[block]] = 1 + before.cpu().numpy()
    return rank
