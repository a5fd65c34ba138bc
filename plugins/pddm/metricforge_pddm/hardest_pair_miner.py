"""The hardest positive pairs of a batch and the hardest negative of every image, from which both miners choose."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from metricforge import Miner, Similarity, functional

By = Literal["score", "euclidean"]
Per = Literal["batch", "class", "anchor", "pair"]


class HardestPairs(NamedTuple):
    """Positive pairs (T,), (T,); each image's hardest negative (B,), and how alike it is (B,); all scores (B, B)."""

    anchor: Tensor
    positive: Tensor
    hardest_negative: Tensor
    hardness: Tensor
    scores: Tensor


class HardestPairMiner(Miner):
    """A miner that chooses tuples from the hardest positive pairs of a batch and the hardest negative of every image.

    Args:
        by: ``"score"``, the similarity that the model trains; or ``"euclidean"``, minus the distance of L2-normalised
            embeddings, for which the similarity is not used.
        per: the hardest positive pair of the ``"batch"``, of each ``"class"``, or of each image as ``"anchor"``; or
            every positive ``"pair"``.

    Raises:
        ValueError: for another ``by`` or ``per``, or a malformed batch.
    """

    def __init__(self, by: By = "score", per: Per = "batch") -> None:
        super().__init__()
        if by not in get_args(By):
            raise ValueError(f'by must be "score" or "euclidean", got {by!r}')
        if per not in get_args(Per):
            raise ValueError(f'per must be "batch", "class", "anchor" or "pair", got {per!r}')
        self.by = by
        self.uses_similarity = by == "score"
        self.per = per

    def hardest_pairs(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> HardestPairs:
        """``argmin S`` over the positive pairs of the batch, of each class or of each anchor, or all of them.

        Both ends of a pair have a negative. Call it without gradients, as ``forward`` does.
        """
        functional.check_batch(embeddings, labels)
        if len(labels) == 0:
            return HardestPairs(labels, labels, labels, embeddings.new_zeros(0), embeddings.new_zeros(0, 0))
        if self.by == "score":
            scores = similarity.pairwise(embeddings, embeddings)  # (B, B)
        else:
            unit = functional.l2_normalize(embeddings)  # (B, D)
            scores = -functional.pairwise_squared_distances(unit, unit)  # (B, B)

        negative = functional.negative_mask(labels)  # (B, B)
        positive = functional.positive_mask(labels) & negative.any(dim=1)[:, None]  # (B, B)
        if self.per != "anchor":
            positive = positive.triu()  # both orders of a pair are one tuple
        most_alike, hardest_negative = scores.masked_fill(~negative, -torch.inf).max(dim=1)  # (B,), (B,)
        if self.per == "pair":
            first, second = torch.nonzero(positive, as_tuple=True)  # (T,) each
            return HardestPairs(first, second, hardest_negative, most_alike, scores)
        hardness, partner = scores.masked_fill(~positive, torch.inf).min(dim=1)  # (B,), (B,)
        if self.per == "batch":
            hardness, anchor = hardness.min(dim=0, keepdim=True)  # (1,), (1,)
        elif self.per == "class":
            member = labels[:, None] == torch.unique(labels)[None, :]  # (B, C)
            hardness, anchor = hardness[:, None].where(member, torch.inf).min(dim=0)  # (C,), (C,)
        else:
            anchor = torch.arange(len(labels), device=labels.device)  # (B,)

        # Infinite: no positive pair here. Not `isfinite`, which would drop NaN scores before the loss can show them.
        anchor = anchor[~hardness.isposinf()]  # (T,)
        return HardestPairs(anchor, partner[anchor], hardest_negative, most_alike, scores)
