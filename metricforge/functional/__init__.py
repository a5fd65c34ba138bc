"""Pure tensor maths that components and plug-ins share. Imports only torch and ``metricforge.structures``.

Examples:
    >>> import torch
    >>> pairwise_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[5., 0.]])
    >>> positive_mask(torch.tensor([0, 1, 0]))
    tensor([[False, False,  True],
            [False, False, False],
            [ True, False, False]])
"""

from metricforge.functional.all_tuples import all_pairs, all_quadruplets, all_triplets
from metricforge.functional.binary_codes import check_packable, pack_bits, pairwise_hamming_distances
from metricforge.functional.common_frame import Frame, centred, common_frame
from metricforge.functional.distances import (
    in_float32,
    is_exporting,
    l2_normalize,
    paired_squared_distances,
    pairwise_cosine,
    pairwise_distances,
    pairwise_squared_distances,
    safe_sqrt,
)
from metricforge.functional.embedding_checks import check_at_least, check_batch, check_count, check_tuples
from metricforge.functional.log_sum_exp import log1p_sum_exp
from metricforge.functional.near_pairs import NearPairs, near_distances, near_pairs, pull_near
from metricforge.functional.pair_masks import has_positive_and_negative, negative_mask, positive_mask, positive_pairs
from metricforge.functional.row_choice import least_alike, most_alike, random_choice
from metricforge.functional.sharded_rows import (
    draw_rows,
    gather_columns,
    own_shard,
    shard_sizes,
    sum_of_processes,
    with_summed_gradient,
)

__all__ = [
    "Frame",
    "NearPairs",
    "all_pairs",
    "all_quadruplets",
    "all_triplets",
    "centred",
    "check_at_least",
    "check_batch",
    "check_count",
    "check_packable",
    "check_tuples",
    "common_frame",
    "draw_rows",
    "gather_columns",
    "has_positive_and_negative",
    "in_float32",
    "is_exporting",
    "l2_normalize",
    "least_alike",
    "log1p_sum_exp",
    "most_alike",
    "near_distances",
    "near_pairs",
    "negative_mask",
    "own_shard",
    "pack_bits",
    "paired_squared_distances",
    "pairwise_cosine",
    "pairwise_distances",
    "pairwise_hamming_distances",
    "pairwise_squared_distances",
    "positive_mask",
    "positive_pairs",
    "pull_near",
    "random_choice",
    "safe_sqrt",
    "shard_sizes",
    "sum_of_processes",
    "with_summed_gradient",
]
