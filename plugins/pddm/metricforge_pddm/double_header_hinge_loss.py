"""Two hinges a quadruplet: on the learned scores, and on the distances of the embeddings."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from metricforge import LOSSES, Loss, LossOutput, Pairs, Quadruplets, Similarity, Triplets, functional
from metricforge_pddm.metric_head import MetricHead
from metricforge_pddm.score_range_watch import ScoreRangeWatch, range_without_diagonal

# The least range of a batch's scores that is scaled up to 1: a collapsed metric head has a smaller one, and dividing by
# it would make its gradients explode.
SMALLEST_RANGE = 1e-6


@LOSSES.register_module()
class DoubleHeaderHingeLoss(Loss):
    """Double-header hinge loss (Huang et al., NIPS 2016, Eqs. 3, 4) of quadruplets (i, j, k, l) or triplets (i, j, k).

    ``E_m = [alpha + S_ik - S_ij]_+ + [alpha + S_jl - S_ij]_+`` with the learned similarity S, ``E_e = [beta + D_ij -
    D_ik]_+ + [beta + D_ij - D_jl]_+`` with the distance D of L2-normalised embeddings, and ``total = E_m +
    embedding_weight E_e``: a mean over the quadruplets, equal to the paper for its one a batch; 0 for none. ``parts``
    has ``e_m`` and ``e_e``. Scores and distances are in at least float32. A triplet has the first hinge of each alone:
    the paper's PDDM+Triplet of Table 1, whose loss it does not print.

    Scaling divides S by the range, largest minus smallest, of the batch's (B, B) similarity graph without its
    diagonal, so that alpha is a share of it; the minimum cancels in the differences. The range is held constant in
    the gradient: where the quadruplet has both the graph's smallest and its largest score, S_ik - S_ij is 1 whatever
    the weights are, and differentiating the range too would leave no gradient for just the hardest quadruplets. A
    range below 1e-6 counts as 1e-6.

    Of PDDM and LMDM the pairs of the tuples alone are differentiated; the range is found without gradient. In training
    a similarity with dropout draws new masks here, for each pair and for the range: the scores are not those that the
    miner saw. Where scores without dropout become nearly the same for all pairs, a ``CollapsedScoresWarning`` says so.

    The paper's weight decay gamma is the optimizer's. D is plain in Eq. 4, but the identity printed below it holds for
    squared distances: ``squared_distances`` chooses.

    Args:
        alpha: margin of the scores, >= 0; the paper's is 0.5.
        beta: margin of the distances, >= 0; the paper's is 1.
        embedding_weight: lambda >= 0; the paper's is 0.5, and 0 leaves E_m alone.
        scale_scores: scale S to 0..1 over the batch, as the paper does; False takes S as it is.
        squared_distances: take D squared.

    Raises:
        ValueError: for a negative argument, a call without tuples or without a similarity, or a malformed batch.
    """

    accepts = (Quadruplets, Triplets)
    needs_miner = True

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 1.0,
        embedding_weight: float = 0.5,
        scale_scores: bool = True,
        squared_distances: bool = False,
    ) -> None:
        super().__init__()
        functional.check_at_least("alpha", alpha, 0)
        functional.check_at_least("beta", beta, 0)
        functional.check_at_least("embedding_weight", embedding_weight, 0)
        self.alpha = alpha
        self.beta = beta
        self.embedding_weight = embedding_weight
        self.scale_scores = scale_scores
        self.squared_distances = squared_distances
        self._watch = ScoreRangeWatch()

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Pairs | Triplets | Quadruplets | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        functional.check_batch(embeddings, labels)
        if not isinstance(tuples, (Quadruplets, Triplets)):
            raise ValueError(
                f"DoubleHeaderHingeLoss needs Quadruplets or Triplets, got {type(tuples).__name__}; "
                'set a miner that yields them, such as dict(type="HardQuadrupletMiner")'
            )
        if similarity is None:
            raise ValueError(
                "DoubleHeaderHingeLoss needs the similarity whose scores it trains, got None; "
                'set one, such as dict(type="PDDM")'
            )
        if self.training and isinstance(similarity, MetricHead):
            self._watch.look(similarity, embeddings)
        count = max(len(tuples), 1)
        score_hinges = self._score_hinges(embeddings, tuples, similarity)  # (T,)
        distance_hinges = self._distance_hinges(embeddings, tuples)  # (T,)
        e_m, e_e = score_hinges.sum() / count, distance_hinges.sum() / count
        return LossOutput(e_m + self.embedding_weight * e_e, {"e_m": e_m.detach(), "e_e": e_e.detach()})

    def _score_hinges(self, embeddings: Tensor, tuples: Quadruplets | Triplets, similarity: Similarity) -> Tensor:
        """The hinges of E_m, added, for each tuple (T,)."""
        headers = _headers(tuples)
        first = torch.cat([tuples.anchor, *(end for end, _ in headers)])  # (T + T or 2T,)
        second = torch.cat([tuples.positive, *(negative for _, negative in headers)])
        if isinstance(similarity, MetricHead):
            scale = self._scale(lambda: similarity.pairwise(embeddings.detach(), embeddings.detach()))
            scores = similarity.paired(embeddings[first], embeddings[second])
        else:  # a fixed similarity has all pairs for little
            graph = functional.in_float32(similarity.pairwise(embeddings, embeddings))  # (B, B)
            scale = self._scale(lambda: graph)
            scores = graph[first, second]
        positive, *negatives = functional.in_float32(scores).view(1 + len(headers), -1)  # (T,) each
        hinges = [(self.alpha + (negative - positive) / scale).relu() for negative in negatives]  # (T,) each
        return torch.stack(hinges).sum(dim=0)

    @torch.no_grad()
    def _scale(self, graph: Callable[[], Tensor]) -> Tensor | int:
        """What scores are divided by: the range of the batch's ``graph`` (B, B), or 1."""
        if not self.scale_scores:
            return 1
        scores = functional.in_float32(graph())
        return 1 if len(scores) < 2 else range_without_diagonal(scores).clamp_min(SMALLEST_RANGE)

    def _distance_hinges(self, embeddings: Tensor, tuples: Quadruplets | Triplets) -> Tensor:
        """The hinges of E_e, added, for each tuple (T,)."""
        unit = functional.l2_normalize(embeddings)  # (B, D)
        positive = self._distances(unit[tuples.anchor], unit[tuples.positive])  # (T,)
        hinges = [
            (self.beta + positive - self._distances(unit[end], unit[negative])).relu()  # (T,)
            for end, negative in _headers(tuples)
        ]
        return torch.stack(hinges).sum(dim=0)

    def _distances(self, x: Tensor, y: Tensor) -> Tensor:
        squares = functional.paired_squared_distances(x, y)  # (T,)
        return squares if self.squared_distances else functional.safe_sqrt(squares)


def _headers(tuples: Quadruplets | Triplets) -> list[tuple[Tensor, Tensor]]:
    """The ends of the positive pair that have a negative (T,), each with it: (i, k), and (j, l) of a quadruplet."""
    if isinstance(tuples, Triplets):
        return [(tuples.anchor, tuples.negative)]
    return [(tuples.anchor, tuples.anchor_negative), (tuples.positive, tuples.positive_negative)]
