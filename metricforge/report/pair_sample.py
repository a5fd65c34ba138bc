"""Random positive and negative pairs of an embedding set."""

from __future__ import annotations

import numpy as np

from metricforge.arrays import Array, Indices


def sample_pairs(labels: Array, count: int, seed: int = 0) -> tuple[Indices, Indices]:
    """``count`` positive pairs (count, 2) and as many negative ones, each drawn evenly among all of its kind.

    Pairs are drawn with replacement; an image is never its own partner.

    Args:
        labels: classes (N,).
        count: at least 1.
        seed: of the draw.

    Raises:
        ValueError: for a ``count`` below 1, or labels without a positive or without a negative pair.
    """
    if count < 1:
        raise ValueError(f"count must be >= 1, got {count}")
    classes, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2 or sizes.max() < 2:
        raise ValueError(
            f"there are {len(labels)} images of {len(classes)} classes, the largest with {sizes.max(initial=0)}: "
            "positive pairs need a class of two images, negative ones need two classes"
        )
    generator = np.random.default_rng(seed)
    by_class = np.argsort(inverse, kind="stable").astype(np.int64)  # (N,): images of class 0, of class 1, ...
    first_of_class = np.cumsum(sizes) - sizes  # (C,)

    ordered = sizes * (sizes - 1)  # ordered pairs of each class (C,)
    chosen = generator.choice(len(classes), size=count, p=ordered / ordered.sum())  # (count,)
    one = generator.integers(0, sizes[chosen])
    other = (one + generator.integers(1, sizes[chosen])) % sizes[chosen]
    positive = by_class[first_of_class[chosen][:, None] + np.stack([one, other], axis=1)]  # (count, 2)

    # An image is in as many negative pairs as there are images of other classes; its partner is any of those.
    others = (len(labels) - sizes)[inverse]  # (N,)
    image = generator.choice(len(labels), size=count, p=others / others.sum())
    own = inverse[image]
    step = generator.integers(0, others[image])  # the partner's place among the images of the classes after its own
    place = (first_of_class[own] + sizes[own] + step) % len(labels)
    negative = np.stack([image, by_class[place]], axis=1).astype(np.int64)  # (count, 2)
    return positive, negative
