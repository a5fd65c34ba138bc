"""Every positive pair of a batch against all negatives of both its ends."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge import LOSSES, Loss, LossOutput, Pairs, Quadruplets, Similarity, Triplets, functional
from metricforge_lifted.row_block_loss import row_block_loss
from metricforge_lifted.whole_matrix_loss import whole_matrix_loss


@LOSSES.register_module()
class LiftedStructureLoss(Loss):
    """Lifted structured loss (Song et al., CVPR 2016) on Euclidean distances D of the embeddings as they come.

    With ``L_i = log sum_k exp(margin - D_ik)`` over the negatives k of i, Eq. 4 reads
    ``J_ij = log(e^L_i + e^L_j) + D_ij``, and the total is the sum over positive pairs of ``max(0, J_ij)^2 / (2 |P|)``:
    O(B^2) time, in the memory of the positive pairs and some blocks of rows of the B x B distances. Eq. 3 has the
    hardest negative in place of the sums, ``L_i = max_k margin - D_ik``, and the larger of the two; it holds a few
    B x B matrices, and so does Eq. 4 with ``tuples`` or where its gradient is to be differentiated again.

    With ``tuples`` only the listed positive pairs count, and as negatives only the listed negative pairs, each for
    both of its ends; a pair counts once however often, and in whichever order, it is listed.

    Embeddings (B, D) are not normalised, as in the released code; half types are computed in float32, also under
    autocast. The total is a float32 scalar (float64 for such embeddings). Deviations: the gradient of a distance 0 is
    0 (the released layer divides by it); a positive pair neither of whose ends has a negative adds 0 to the sum and
    stays counted in |P|.

    Args:
        margin: alpha of the paper, in units of distance, >= 0; the paper trains with 1.
        smooth: Eq. 4, which the paper trains; False is Eq. 3.

    Raises:
        ValueError: for a negative margin, tuples other than Pairs, or a malformed batch.
    """

    accepts = (Pairs,)

    def __init__(self, margin: float = 1.0, smooth: bool = True) -> None:
        super().__init__()
        functional.check_at_least("margin", margin, 0)
        self.margin = margin
        self.smooth = smooth

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Pairs | Triplets | Quadruplets | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        functional.check_batch(embeddings, labels)
        if tuples is None:
            negative = None
            first, second = functional.positive_pairs(labels, both_ways=True)  # (P,) each
        elif isinstance(tuples, Pairs):
            negative = _listed(tuples, ~tuples.positive, labels)  # (B, B)
            first, second = torch.nonzero(_listed(tuples, tuples.positive, labels), as_tuple=True)  # (P,) each
        else:
            raise ValueError(
                f"LiftedStructureLoss takes Pairs, got {type(tuples).__name__}; use a miner that yields Pairs, or none"
            )
        embeddings = functional.in_float32(embeddings)
        if len(labels) == 0:
            return LossOutput(embeddings.sum())
        if self.smooth:
            return LossOutput(row_block_loss(embeddings, first, second, negative, self.margin))
        negative = functional.negative_mask(labels) if negative is None else negative
        return LossOutput(whole_matrix_loss(embeddings, first, second, negative, self.margin, smooth=False))


def _listed(pairs: Pairs, chosen: Tensor, labels: Tensor) -> Tensor:
    """(B, B) bool, symmetric: the pairs where ``chosen`` (P,) is true, of different images."""
    mask = torch.zeros(len(labels), len(labels), dtype=torch.bool, device=labels.device)
    mask[pairs.first.masked_select(chosen), pairs.second.masked_select(chosen)] = True
    return (mask | mask.T).fill_diagonal_(False)
