"""What each query finds: neighbours with similarity and distance, and how sure the ranking is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from metricforge.arrays import Flags, Floats32, Indices
from metricforge.evaluation.context import EvaluationContext

PAIRS_AT_ONCE = 2**20


@dataclass(frozen=True)
class Retrieval:
    """The K nearest of each of Q queries.

    Args:
        found: gallery indices (Q, K), nearest first.
        labels: their classes (Q, K).
        is_match: whether each is of the query's class (Q, K).
        scores: similarities (Q, K), larger = more alike.
        distances: Euclidean distances of the embeddings (Q, K), or differing bits where bits are compared.
    """

    found: Indices
    labels: Indices
    is_match: Flags
    scores: Floats32
    distances: Floats32

    @property
    def confidence(self) -> Floats32:
        """By how much the nearest (Q,) beats the nearest of another class than its own, among the K.

        Where all K are of one class it is the lead over the last of them, which is at most that.
        """
        rival = ~(self.labels == self.labels[:, :1])  # (Q, K)
        last = self.found.shape[1] - 1
        first = np.where(rival.any(axis=1), rival.argmax(axis=1), last)  # (Q,)
        lead: Floats32 = self.scores[:, 0] - self.scores[np.arange(len(first)), first]
        return lead


def retrieve(context: EvaluationContext, k: int) -> Retrieval:
    """Search the ``k`` nearest of every query, by the ranking of ``context``."""
    found = context.neighbours(k)  # (Q, K)
    labels = context.gallery.labels[found]
    scores, distances = _scored(context, found)
    return Retrieval(found, labels, labels == context.queries.labels[:, None], scores, distances)


@torch.inference_mode()
def _scored(context: EvaluationContext, found: Indices) -> tuple[Floats32, Floats32]:
    scores = np.empty(found.shape, dtype=np.float32)
    distances = np.empty(found.shape, dtype=np.float32)
    width = context.queries.embeddings.shape[1]
    rows = max(1, PAIRS_AT_ONCE * 16 // (found.shape[1] * width))
    bits = context.similarity.search == "hamming"
    for start in range(0, len(found), rows):
        block = slice(start, start + rows)
        query = torch.from_numpy(np.asarray(context.queries.embeddings[block], dtype=np.float32)).to(context.device)
        its = np.asarray(context.gallery.embeddings[found[block]], dtype=np.float32)  # (q, K, D)
        images = torch.from_numpy(its).to(context.device)
        scores[block] = context.similarity.score_lists(query, images).float().cpu().numpy()
        distances[block] = torch.linalg.vector_norm(images - query[:, None], dim=2).cpu().numpy()
        if bits:
            distances[block] = -scores[block]
    return scores, distances
