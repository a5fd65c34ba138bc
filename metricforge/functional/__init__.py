"""Pure tensor maths that components and plug-ins share. Imports only torch and ``metricforge.structures``."""

from metricforge.functional.distances import (
    in_float32,
    l2_normalize,
    paired_squared_distances,
    pairwise_cosine,
    pairwise_distances,
    pairwise_squared_distances,
    safe_sqrt,
)
from metricforge.functional.embedding_checks import check_at_least, check_batch
from metricforge.functional.pair_masks import negative_mask, positive_mask, positive_pairs

__all__ = [
    "check_at_least",
    "check_batch",
    "in_float32",
    "l2_normalize",
    "negative_mask",
    "paired_squared_distances",
    "pairwise_cosine",
    "pairwise_distances",
    "pairwise_squared_distances",
    "positive_mask",
    "positive_pairs",
    "safe_sqrt",
]
