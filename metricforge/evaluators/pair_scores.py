"""Scores given pairs of images by a similarity."""

from __future__ import annotations

import numpy as np
import torch

from metricforge.arrays import Floats
from metricforge.evaluation.search.hamming_knn import packed_embeddings
from metricforge.evaluation.search.pairwise_scores import PairwiseScores
from metricforge.evaluation.search.prepared_embeddings import prepared_rows
from metricforge.evaluators.labelled_pairs import LabelledPairs
from metricforge.interfaces import EvaluationContext

CODES_AT_ONCE = 2**17
NUMBERS_AT_ONCE = 2**20
QUERIES_AT_ONCE = 128


@torch.no_grad()
def pair_scores(context: EvaluationContext, pairs: LabelledPairs) -> Floats:
    """Score ``pairs`` (P,) by the context's similarity, larger = more alike: its value, or one that ranks the same.

    Euclidean similarities give minus the squared distance, in float64. A similarity that no index can search is called
    on whole rows of the gallery, as in a search.
    """
    scores = np.empty(len(pairs.queries))
    queries = None if context.searches_itself else context.queries.embeddings
    gallery, similarity, device = context.gallery.embeddings, context.similarity, context.device
    if similarity.search == "hamming":
        codes = packed_embeddings(gallery, similarity, device)  # (G, bytes)
        query_codes = codes if queries is None else packed_embeddings(queries, similarity, device)
        for block in _blocks(len(scores), CODES_AT_ONCE):
            unlike = query_codes[pairs.queries[block]] ^ codes[pairs.images[block]]  # (p, bytes)
            scores[block] = -np.unpackbits(unlike, axis=1).sum(axis=1, dtype=np.int64)
        return scores
    if similarity.search is None:
        rows = PairwiseScores(queries, gallery, similarity, device)
        for start in range(0, len(context.queries), QUERIES_AT_ONCE):
            stop = min(start + QUERIES_AT_ONCE, len(context.queries))
            block = slice(*np.searchsorted(pairs.queries, [start, stop]))
            if block.start < block.stop:
                table = rows.rough(start, stop)[0].double().cpu().numpy()  # (b, G)
                scores[block] = table[pairs.queries[block] - start, pairs.images[block]]
        return scores
    searched = gallery if queries is None else queries  # (Q, D)
    for block in _blocks(len(scores), max(1, NUMBERS_AT_ONCE // gallery.shape[1])):
        query = prepared_rows(searched[pairs.queries[block]], similarity, device).double()  # (p, D)
        image = prepared_rows(gallery[pairs.images[block]], similarity, device).double()  # (p, D)
        terms = (query - image).square().neg() if similarity.search == "l2" else query * image
        scores[block] = terms.sum(dim=1).cpu().numpy()
    return scores


def _blocks(count: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, count, size)]
