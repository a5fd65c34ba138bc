"""Message passing of affinity propagation, with few candidates per image."""

from __future__ import annotations

import numpy as np

from metricforge.arrays import Flags, Floats, Indices


def find_exemplars(
    similarities: Floats, candidates: Indices, damping: float, iterations: int, patience: int, seed: int
) -> tuple[Flags, bool]:
    """Find the exemplars (N,), and tell whether they were stable for ``patience`` iterations (Frey and Dueck, 2007).

    Each image may choose among L candidates, itself the first of them. With all images as candidates these are the
    messages of plain affinity propagation; time and memory are O(N L).

    Args:
        similarities: of each image to its candidates (N, L), the first column its preference.
        candidates: image indices (N, L), the first column 0..N - 1.
        damping: the weight of a message's previous value in its next one, 0 <= damping < 1.
        iterations: the maximum.
        patience: stop after this many iterations without a change.
        seed: of noise in the last digits, which breaks ties between images that could equally be each other's exemplar.
    """
    noise = np.random.default_rng(seed).standard_normal(similarities.shape)
    similarities = similarities * (1 + 1e-12 * noise)
    count = len(similarities)
    image = np.arange(count)
    responsibility, availability = np.zeros_like(similarities), np.zeros_like(similarities)  # (N, L)
    exemplars, unchanged = np.zeros(count, dtype=bool), 0
    for _ in range(iterations):
        total = availability + similarities  # (N, L)
        best = total.argmax(axis=1)  # (N,)
        largest = total[image, best]
        total[image, best] = -np.inf
        message = similarities - largest[:, None]
        message[image, best] = similarities[image, best] - total.max(axis=1)
        responsibility = damping * responsibility + (1 - damping) * message

        support = np.maximum(responsibility, 0)  # (N, L)
        support[:, 0] = responsibility[:, 0]
        gathered = np.bincount(candidates.ravel(), support.ravel(), minlength=count)  # (N,)
        message = gathered[candidates] - support
        message[:, 1:] = np.minimum(message[:, 1:], 0)
        availability = damping * availability + (1 - damping) * message

        before, exemplars = exemplars, availability[:, 0] + responsibility[:, 0] > 0
        unchanged = unchanged + 1 if np.array_equal(before, exemplars) and exemplars.any() else 0
        if unchanged == patience:
            return exemplars, True
    return exemplars, False
