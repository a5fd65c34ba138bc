"""Every positive pair of a batch, with the negative pairs that share an image with it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from metricforge import MINERS, Miner, Pairs, Similarity, functional


@MINERS.register_module()
class LiftedStructureMiner(Miner):
    """Yields each positive pair (i < j) once, then negative pairs (i < j) that share an image with a positive pair.

    With ``negatives="all"`` these are the pairs that Eq. 4 sums over, so the lifted structured loss (Song et al.,
    CVPR 2016) is the same as without a miner. With ``"as_many_as_positives"`` a random subset of them, as many as
    there are positive pairs (fewer if the batch has fewer), drawn anew each call from torch's global generator of the
    device: what the released code does once with all pairs of the data set, here with those of a batch. A batch of
    one class yields positives only, a batch of all different images nothing.

    Which images make up a batch is a sampler's matter: for the difficult neighbours of the paper's section 4 see
    ``DifficultNeighbourBatchSampler``.

    Raises:
        ValueError: for another ``negatives``, or a malformed batch.
    """

    yields = Pairs
    uses_similarity = False

    def __init__(self, negatives: Literal["all", "as_many_as_positives"] = "all") -> None:
        super().__init__()
        if negatives not in ("all", "as_many_as_positives"):
            raise ValueError(f'negatives must be "all" or "as_many_as_positives", got {negatives!r}')
        self.negatives = negatives

    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Pairs:
        functional.check_batch(embeddings, labels)
        positive = functional.positive_mask(labels)  # (B, B)
        in_a_pair = positive.any(dim=1)  # (B,)
        touching = functional.negative_mask(labels) & (in_a_pair[:, None] | in_a_pair[None, :])  # (B, B)
        positives = torch.nonzero(positive.triu())  # (P, 2)
        negatives = torch.nonzero(touching.triu())  # (negative pairs, 2)
        if self.negatives == "as_many_as_positives":
            negatives = negatives[torch.randperm(len(negatives), device=labels.device)[: len(positives)]]
        first, second = torch.cat([positives, negatives]).unbind(dim=1)
        return Pairs(first, second, torch.arange(len(first), device=labels.device) < len(positives))
