"""Each positive pair with a negative that is a little less alike than the positive."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.functional.embedding_checks import check_at_least, check_batch
from metricforge.functional.pair_masks import negative_mask, positive_mask
from metricforge.interfaces import Miner, Similarity
from metricforge.registry import MINERS
from metricforge.structures import Triplets


@MINERS.register_module()
class SemiHardTripletMiner(Miner):
    """Each ordered positive pair with its hardest semi-hard negative: less alike than the positive, by under a margin.

    Schroff et al., "FaceNet" (CVPR 2015), section 3.2: S_ap - margin < S_an < S_ap, of which the largest S_an is taken.
    Where no negative is semi-hard there are two cases:

    - every negative is at least as alike as the positive: the least alike one is taken, which is the nearest to
      semi-hard there is;
    - every less alike negative is less so by the margin or more: the pair is left out, as a loss of the same margin
      gives it zero.

    Deviations: FaceNet compares squared distances of normalised embeddings, here it is what the similarity says, which
    for ``EuclideanSimilarity`` is the distance itself; FaceNet does not say which semi-hard negative it takes.

    Args:
        margin: in the units of the similarity, > 0; that of the loss, if the loss has the same units.

    Raises:
        ValueError: for another margin, or a batch of the wrong shapes or types.
    """

    yields = Triplets

    def __init__(self, margin: float = 0.2) -> None:
        super().__init__()
        check_at_least("margin", margin, 0, open_end=True)
        self.margin = margin

    @torch.no_grad()
    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Triplets:
        check_batch(embeddings, labels)
        scores = similarity.pairwise(embeddings, embeddings)  # (B, B)
        negatives = negative_mask(labels)  # (B, B)
        anchor, positive = torch.nonzero(positive_mask(labels) & negatives.any(dim=1)[:, None], as_tuple=True)  # (P,)
        ascending, columns = scores.masked_fill(~negatives, torch.inf).sort(dim=1)  # (B, B), negatives first
        less_alike = torch.searchsorted(
            ascending, scores.contiguous()
        )  # (B, B), for a positive: how many negatives are less alike
        place = (less_alike[anchor, positive] - 1).clamp_min(0)  # (P,)
        negative = columns[anchor, place]  # (P,)
        too_easy = scores[anchor, negative] <= scores[anchor, positive] - self.margin  # (P,)
        # Scores that are not finite sort among the masked ones: such a column is no negative.
        kept = ~too_easy & negatives[anchor, negative]  # (P,)
        return Triplets(anchor[kept], positive[kept], negative[kept])

    def extra_repr(self) -> str:
        return f"margin={self.margin}"
