"""Batches grow as long as they gain."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge.server.fastest_batch import fastest_batch


@pytest.mark.parametrize(
    ("seconds", "most", "best", "largest"),
    [
        (lambda size: 1 + 0.1 * size, 64, 64, 64),  # a start that all share, as on a GPU
        (lambda size: 1 + 0.1 * size, 24, 16, 16),
        (lambda size: 0.1 * size, 64, 1, 4),  # nothing is shared
        (lambda size: 1 + 0.1 * size if size <= 8 else 0.5 * size, 64, 8, 32),  # beyond 8 the cache is too small
    ],
)
def test_the_size_with_the_least_time_an_image_is_found(seconds, most, best, largest):
    now, seen = 0.0, []

    def embed(batch):
        nonlocal now
        now += seconds(len(batch))
        seen.append(len(batch))
        return np.zeros((len(batch), 2), np.float32)

    image = torch.zeros(3, 2, 2, dtype=torch.uint8)
    assert fastest_batch(embed, image, most, clock=lambda: now) == best
    assert max(seen) == largest
