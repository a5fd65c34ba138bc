"""How much of their space embeddings take, and whether they have collapsed."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from metricforge.arrays import Array

ROWS = 1024  # evenly spaced ones tell
SMALL_SPREAD = 0.01
SMALL_RANK = 1.5
FEWEST_DIMENSIONS = 8  # in fewer a small rank means nothing,
FEWEST_IMAGES = 100  # nor does it for a handful of images


class CollapsedEmbeddingsWarning(UserWarning):
    """Embeddings are nearly all the same, or lie nearly on one line."""


class EmbeddingSpread(NamedTuple):
    """``spread``, 0..1: the root mean square distance to the mean embedding, over the root mean square length.

    ``effective_rank``, 1..D: e to the entropy of the shares that the principal directions have of the variance (Roy and
    Vetterli, 2007, of the covariance's eigenvalues); 0 where all are the same.
    """

    spread: float
    effective_rank: float

    def warn_of_collapse(self, dimensions: int, images: int) -> None:
        """Warn (``CollapsedEmbeddingsWarning``) of a spread below 0.01, or a rank below 1.5.

        A small rank counts from 8 dimensions and 100 images on.
        """
        telling = dimensions >= FEWEST_DIMENSIONS and images >= FEWEST_IMAGES
        flat = telling and self.effective_rank < SMALL_RANK
        if self.spread >= SMALL_SPREAD and not flat:
            return
        what = "are nearly all the same" if self.spread < SMALL_SPREAD else "lie nearly on one line"
        warnings.warn(
            f"the embeddings have collapsed: they {what} (spread {self.spread:.2g} of their length, effective rank "
            f"{self.effective_rank:.1f} of {dimensions}). Scores are exact in spite of it, but so little tells images "
            "apart that the model is fragile: look at the loss and its margin, the learning rate and the miner",
            CollapsedEmbeddingsWarning,
            stacklevel=3,
        )


def embedding_spread(embeddings: Array) -> EmbeddingSpread:
    """The spread and effective rank of ``embeddings`` (N, D), of 1,024 evenly spaced ones where there are more."""
    chosen = np.unique(np.linspace(0, len(embeddings) - 1, min(ROWS, len(embeddings))).round().astype(np.int64))
    rows = np.asarray(embeddings[chosen], dtype=np.float64)  # (n, D)
    largest = np.abs(rows).max(initial=0)
    if largest == 0:
        return EmbeddingSpread(0.0, 0.0)
    rows /= largest
    apart = rows - rows[0]  # rows that are all the same are apart by exactly 0
    apart -= apart.mean(axis=0)
    variance = float(np.square(apart).sum())
    if variance == 0:
        return EmbeddingSpread(0.0, 0.0)
    spread = float(np.sqrt(variance / np.square(rows).sum()))
    apart /= np.abs(apart).max()
    products = apart @ apart.T if len(apart) < apart.shape[1] else apart.T @ apart
    shares = np.linalg.eigvalsh(products).clip(min=0)
    shares = shares[shares > 0] / shares.sum()
    return EmbeddingSpread(spread, float(np.exp(-(shares * np.log(shares)).sum())))
