"""Says when a learned similarity gives all pairs nearly the same score."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from metricforge import Similarity

EVERY = 50  # calls from one look to the next: a look takes a forward pass over the batch's pairs, and stops a GPU
LEAST = 0.01  # of the range at the first look


class CollapsedScoresWarning(UserWarning):
    """The scores of a batch's pairs are nearly all the same."""


class ScoreRangeWatch:
    """Looks now and then at the range of a batch's scores, without dropout, whose noise would hide a collapse.

    Warns once, where the range is below a hundredth of what it was at the first look, or 0.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._first: float | None = None
        self._told = False

    def look(self, similarity: Similarity, embeddings: Tensor) -> None:
        """Count a call, and look at the scores of ``embeddings`` (B, D) at every fiftieth, from the first on."""
        due, self._calls = self._calls % EVERY == 0, self._calls + 1
        if not due or self._told or len(embeddings) < 3 or _are_the_same(embeddings.detach()):
            return
        found = float(range_without_diagonal(_plain_scores(similarity, embeddings.detach())))
        if self._first is None:
            self._first = found
        if found == 0 or found < LEAST * self._first:
            self._told = True
            warnings.warn(
                f"the scores of a batch's pairs span {found:.2g}, {self._first:.2g} at first: the similarity "
                "gives all pairs nearly the same score, which lowers the hinges of the hardest tuples as long as a "
                "negative pair is more alike than a positive one. Mine easier negatives "
                '(HardQuadrupletMiner(per="pair", negatives="semi_hard")), begin from the distance '
                '(PDDM(init="distance")), or take a smaller learning rate',
                CollapsedScoresWarning,
                stacklevel=2,
            )


def _are_the_same(embeddings: Tensor) -> bool:
    """Whether ``embeddings`` (B, D) themselves have collapsed, which is no fault of the similarity."""
    return bool((embeddings - embeddings[0]).abs().max() <= 1e-3 * embeddings.abs().max())


@torch.no_grad()
def _plain_scores(similarity: Similarity, embeddings: Tensor) -> Tensor:
    """Scores (B, B) without dropout."""
    dropping = [module for module in similarity.modules() if isinstance(module, nn.Dropout) and module.training]
    for module in dropping:
        module.training = False
    try:
        return similarity.pairwise(embeddings, embeddings)
    finally:
        for module in dropping:
            module.training = True


def range_without_diagonal(scores: Tensor) -> Tensor:
    """Largest minus smallest of ``scores`` (B, B) off the diagonal, B >= 2."""
    diagonal = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    return scores.masked_fill(diagonal, -torch.inf).max() - scores.masked_fill(diagonal, torch.inf).min()
