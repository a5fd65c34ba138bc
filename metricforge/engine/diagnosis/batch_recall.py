"""Recall@1 within batches of training classes, beside that within equal batches of validation classes."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Flags, Floats32, Indices
from metricforge.engine.diagnosis.label_watch import nearest_is_match
from metricforge.structures import EmbeddingSet

KEPT = 4  # batches
DRAWS = 8  # batches of validation images


class BatchRecall:
    """Keeps the latest batches of a training, to compare them with as many classes and images of a validation.

    A whole data set is searched among more images than a batch, and so has another recall: only equal batches compare.
    """

    def __init__(self) -> None:
        self._batches: deque[tuple[Floats32, Indices]] = deque(maxlen=KEPT)

    def note(self, embeddings: Tensor, labels: Tensor) -> None:
        """Keep a batch (B, D) with its labels (B,)."""
        self._batches.append((embeddings.float().cpu().numpy(), labels.cpu().numpy()))

    def compare(self, validation: EmbeddingSet, seed: int) -> tuple[float, float] | None:
        """Recall@1 in batches of training and of ``validation`` classes; None where a batch has no two of a class.

        All batches have the same number of classes, of the same number of images each.
        """
        sizes = [np.unique(labels, return_counts=True)[1] for _, labels in self._batches]
        repeated = [counts[counts > 1] for counts in sizes]
        if not repeated or any(len(counts) < 2 for counts in repeated):
            return None
        each = int(min(counts.min() for counts in repeated))
        counts = np.unique(validation.labels, return_counts=True)[1]
        usable = int((counts >= each).sum())
        classes = min(usable, *(len(counts) for counts in repeated))
        if classes < 2:
            return None
        draws = np.random.default_rng(seed)
        seen = [_recall(rows, labels, classes, each, draws) for rows, labels in self._batches]
        embeddings = np.asarray(validation.embeddings)
        unseen = [_recall(embeddings, validation.labels, classes, each, draws) for _ in range(DRAWS)]
        return float(np.mean(seen)), float(np.mean(unseen))


def _recall(rows: Floats32, labels: Indices, classes: int, each: int, draws: np.random.Generator) -> float:
    """Recall@1 of ``each`` images of ``classes`` classes drawn from ``rows`` (N, D)."""
    names, counts = np.unique(labels, return_counts=True)
    chosen = draws.choice(names[counts >= each], classes, replace=False)
    members = [draws.choice(np.flatnonzero(_are(labels, name)), each, replace=False) for name in chosen]
    picked = np.concatenate(members)
    batch = torch.from_numpy(np.ascontiguousarray(rows[picked], dtype=np.float32))
    return float(nearest_is_match(batch, torch.from_numpy(labels[picked])).mean())


def _are(labels: Indices, name: int) -> Flags:
    found: Flags = labels == name
    return found
