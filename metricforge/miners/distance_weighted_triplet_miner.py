"""Each positive pair with a negative whose distance from the anchor is as likely as any other."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.functional.distances import l2_normalize, pairwise_squared_distances
from metricforge.functional.embedding_checks import check_at_least, check_batch
from metricforge.functional.pair_masks import negative_mask, positive_mask
from metricforge.interfaces import Miner, Similarity
from metricforge.registry import MINERS
from metricforge.structures import Triplets


@MINERS.register_module()
class DistanceWeightedTripletMiner(Miner):
    """Each ordered positive pair with one negative, drawn with a probability inverse to its distance's density.

    Wu et al., "Sampling Matters in Deep Embedding Learning" (ICCV 2017), section 4.1. Of points spread evenly over the
    unit sphere in D dimensions, pairs at distance d have the density ``q(d) ~ d^(D-2) (1 - d^2/4)^((D-3)/2)``; a
    negative at distance d is drawn with a probability in proportion to ``1 / q(max(d, cutoff))``, and never from
    ``upper`` on, where it would give no loss. Computed as logarithms, since q spans hundreds of powers of ten.

    The miner normalises the embeddings (B, D) to length 1 itself, for the density is one of the sphere, and uses their
    Euclidean distances, not the similarity. Half types are computed in float32. It draws from torch's global generator
    of the embeddings' device.

    Deviation, which the paper leaves open: an anchor all of whose negatives are at ``upper`` or farther has one of them
    drawn evenly, so that its positive pairs are still pulled together.

    Args:
        cutoff: distances below it count as it, > 0; without it the nearest negatives, often noise, win every time.
        upper: the distance from which negatives are not drawn, above ``cutoff`` and at most 2.

    Raises:
        ValueError: for arguments outside these ranges, or a batch of the wrong shapes or types.
    """

    yields = Triplets
    uses_similarity = False

    def __init__(self, cutoff: float = 0.5, upper: float = 1.4) -> None:
        super().__init__()
        check_at_least("cutoff", cutoff, 0, open_end=True)
        check_at_least("upper", upper, cutoff, open_end=True)
        if upper > 2:
            raise ValueError(f"upper must be at most 2, the largest distance on the unit sphere, got {upper}")
        self.cutoff = cutoff
        self.upper = upper

    @torch.no_grad()
    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Triplets:
        check_batch(embeddings, labels)
        positives, negatives = positive_mask(labels), negative_mask(labels)  # (B, B)
        anchor, positive = torch.nonzero(positives & negatives.any(dim=1)[:, None], as_tuple=True)  # (P,)
        if len(anchor) == 0:
            return Triplets(anchor, positive, anchor)
        unit = l2_normalize(embeddings)  # (B, D)
        weights = self._log_weights(unit, negatives).softmax(dim=1)  # (B, B)
        # multinomial needs a sum above zero, also in rows that no anchor uses.
        weights = weights.masked_fill(~negatives.any(dim=1)[:, None], 1)
        per_anchor = positives.sum(dim=1)  # (B,)
        drawn = torch.multinomial(weights, int(per_anchor.max()), replacement=True)  # (B, most positives of a row)
        # A row's positives are adjacent in ``anchor``: the position among them is the number of the draw.
        firsts = torch.searchsorted(anchor, anchor)  # (P,)
        negative = drawn[anchor, torch.arange(len(anchor), device=anchor.device) - firsts]  # (P,)
        return Triplets(anchor, positive, negative)

    def _log_weights(self, unit: Tensor, negatives: Tensor) -> Tensor:
        """Logarithms (B, B) of weights: -inf where a row must not draw, finite somewhere in a row with a negative."""
        squares = pairwise_squared_distances(unit, unit)  # (B, B)
        dim = unit.shape[1]
        near = negatives & (squares < self.upper**2)  # (B, B)
        clipped = squares.clamp(self.cutoff**2, self.upper**2)  # (B, B)
        log_weights = (2 - dim) / 2 * clipped.log() - (dim - 3) / 2 * torch.log1p(-clipped / 4)  # (B, B)
        evenly = torch.zeros_like(log_weights).masked_fill(~negatives, -torch.inf)  # (B, B)
        return torch.where(near.any(dim=1)[:, None], log_weights.masked_fill(~near, -torch.inf), evenly)

    def extra_repr(self) -> str:
        return f"cutoff={self.cutoff}, upper={self.upper}"
