"""The pairs of each anchor that are not yet well apart."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.functional.embedding_checks import check_at_least, check_batch
from metricforge.functional.pair_masks import negative_mask, positive_mask
from metricforge.interfaces import Miner, Similarity
from metricforge.registry import MINERS
from metricforge.structures import DirectedPairs


@MINERS.register_module()
class MultiSimilarityMiner(Miner):
    """Of each anchor the negatives more alike than its least alike positive less epsilon, and the reverse.

    Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning" (CVPR 2019), section 4.1:
    a negative is chosen where ``S_an > min S_ap - epsilon``, a positive where ``S_ap < max S_an + epsilon``. An anchor
    without a positive or without a negative chooses none. S is the model's similarity; the paper's is the cosine.

    ``DirectedPairs``, anchor first and in row order; a pair that both its ends choose is there twice, once each way.

    Args:
        epsilon: >= 0, in units of the similarity; 0.1 in the paper, for cosines.

    Raises:
        ValueError: for another ``epsilon``, or a batch of the wrong shapes or types.

    Examples:
        >>> from metricforge import MINERS, SIMILARITIES
        >>> miner = MINERS.build(dict(type="MultiSimilarityMiner"))
        >>> cosine = SIMILARITIES.build(dict(type="CosineSimilarity"))
        >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
        >>> pairs = miner(embeddings, torch.tensor([0, 0, 1]), cosine)
        >>> pairs.first.tolist(), pairs.second.tolist()
        ([1, 1], [0, 2])
    """

    yields = DirectedPairs

    def __init__(self, epsilon: float = 0.1) -> None:
        super().__init__()
        check_at_least("epsilon", epsilon, 0)
        self.epsilon = epsilon

    @torch.no_grad()
    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> DirectedPairs:
        check_batch(embeddings, labels)
        if len(labels) == 0:
            return DirectedPairs(labels, labels, labels.bool())
        scores = similarity.pairwise(embeddings, embeddings)  # (B, B)
        positives, negatives = positive_mask(labels), negative_mask(labels)  # (B, B)
        least_alike = scores.masked_fill(~positives, torch.inf).amin(dim=1, keepdim=True)  # (B, 1)
        most_alike = scores.masked_fill(~negatives, -torch.inf).amax(dim=1, keepdim=True)  # (B, 1)
        chosen = positives & (scores < most_alike + self.epsilon)  # (B, B)
        chosen |= negatives & (scores > least_alike - self.epsilon)
        first, second = torch.nonzero(chosen, as_tuple=True)  # (P,)
        return DirectedPairs(first, second, labels[first] == labels[second])

    def extra_repr(self) -> str:
        return f"epsilon={self.epsilon}"
