"""Contrastive loss: positive pairs pulled together, negative ones pushed apart up to a margin."""

from __future__ import annotations

from torch import Tensor

from metricforge.functional.distances import pairwise_distances
from metricforge.functional.embedding_checks import check_at_least, check_batch, check_tuples
from metricforge.interfaces import Loss, Similarity
from metricforge.registry import LOSSES
from metricforge.structures import LossOutput, Pairs, Tuples


@LOSSES.register_module()
class ContrastiveLoss(Loss):
    """The mean over the pairs of D^2 (positive) or [margin - D]_+^2 (negative), D the Euclidean distance.

    Eq. 1 of Oh Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding" (CVPR 2016). Deviations: the
    paper takes m/2 disjoint pairs of a batch of m and divides by m, so its value is half the mean over its pairs; here
    the pairs may overlap, and without a miner they are all pairs of the batch.

    A batch of one class pulls, one of all different classes pushes. One without any pair, such as a single image, gives
    0 with zero gradients, and so does an empty ``Pairs``. Half types are computed in float32, also under autocast.
    ``similarity`` is not used: the loss is one of Euclidean distances, whatever the miner mined by. Memory is O(B^2).

    Parts: ``positive``, the mean of D^2 over the positive pairs, and ``negative``, the mean of [margin - D]_+^2 over
    the negative ones; 0 where there are none.

    Args:
        margin: the distance (> 0) from which a negative pair no longer counts, in the units of the embeddings.

    Raises:
        ValueError: for a margin that is not a finite number above 0, or a batch of the wrong shapes or types.
        TypeError: for tuples that are not ``Pairs``.
    """

    accepts = (Pairs,)

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        check_at_least("margin", margin, 0, open_end=True)
        self.margin = margin

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        check_batch(embeddings, labels)
        check_tuples(tuples, self.accepts)
        distances = pairwise_distances(embeddings, embeddings)  # (B, B)
        same = labels[:, None] == labels[None, :]  # (B, B)
        alike, unlike = same.sum() - len(labels), (~same).sum()
        if isinstance(tuples, Pairs):
            distances = distances[tuples.first, tuples.second]  # (P,)
            same = tuples.positive  # (P,)
            alike, unlike = same.sum(), (~same).sum()
        # One hinge for both: [D]_+ where positive, which is 0 on the diagonal, [margin - D]_+ where negative.
        signs = same.to(distances.dtype).mul_(2).sub_(1)  # 1 and -1
        offsets = (1 - signs).mul_(self.margin / 2)  # 0 and margin
        # In place, because on a CPU a new matrix costs more time than filling it.
        terms = offsets.addcmul_(signs, distances).relu_().square()  # (B, B) or (P,)
        term_sum = terms.sum()
        pull = (terms.detach() * same).sum()
        push = (term_sum.detach() - pull).clamp_min(0)
        total = term_sum / (alike + unlike).clamp_min(1)
        return LossOutput(
            total,
            {"positive": pull / alike.clamp_min(1), "negative": push / unlike.clamp_min(1)},
        )

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> bool:
        """Whether there is a pair of any kind."""
        return len(labels) > 1 if tuples is None else len(tuples) > 0

    def extra_repr(self) -> str:
        return f"margin={self.margin}"
