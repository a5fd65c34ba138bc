"""The contract of a miner as a test."""

from __future__ import annotations

import copy
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from metricforge.interfaces import Miner, Similarity
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import Pairs, Quadruplets, Triplets, Tuples
from metricforge.testing.clause import clause, require
from metricforge.testing.sample_batches import (
    Batch,
    batches_with_duplicates,
    batches_without_pairs,
    ordinary_batch,
    random_rows,
)


class _ShiftedSimilarity(Similarity):
    """Another similarity plus a constant: it ranks the same, but no score is on the other side of zero."""

    def __init__(self, similarity: Similarity, shift: float) -> None:
        super().__init__()
        self.similarity = similarity
        self.shift = shift

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return self.similarity.pairwise(x, y) + self.shift


def check_miner(miner: Miner, *, dim: int = 8, similarity: Similarity | None = None) -> None:
    """Test a miner against the contract, on the CPU and on a copy of it.

    On ordinary and uneven batches, one class, all different classes, one sample, duplicates and bfloat16, with the
    similarity as it is and shifted so that all scores are positive or all negative (masking by multiplication shows):

    - it yields the type it says, of rows that exist, and leaves its inputs alone;
    - a positive is of the anchor's class and another sample, a negative of another class;
    - no tuple stands twice, unless its ``may_repeat`` is True;
    - by a similarity that ranks the other way round it chooses other tuples, unless its ``uses_similarity`` is False;
    - in some of the batches it yields at least one tuple.

    Args:
        miner: the miner.
        dim: the embedding size (D) to test with, at least 1.
        similarity: what it mines by; ``EuclideanSimilarity()`` if None.

    Raises:
        AssertionError: naming the clause that failed, and the batch it failed on.
    """
    with clause(miner, "it declares what it yields"):
        require(isinstance(miner, Miner), "not a metricforge.Miner")
        allowed = isinstance(miner.yields, type) and issubclass(miner.yields, (Pairs, Triplets, Quadruplets))
        require(allowed, f"yields must be Pairs, Triplets or Quadruplets, got {miner.yields!r}")
    miner = copy.deepcopy(miner).cpu()
    similarity = EuclideanSimilarity() if similarity is None else copy.deepcopy(similarity).cpu()
    embeddings, labels = ordinary_batch(dim, num_classes=4)
    batches: dict[str, Batch] = {
        "an ordinary batch": (embeddings, labels),
        "an uneven batch": (random_rows(9, dim, seed=1), torch.tensor([5, 0, 5, 5, 2, 0, 5, 9, 5])),
        "a bfloat16 batch": (embeddings.bfloat16(), labels),
        **batches_with_duplicates(dim, num_classes=4),
        **batches_without_pairs(dim, num_classes=4),
    }
    found = 0
    for shift in (0.0, 100.0, -100.0):
        for name, batch in batches.items():
            where = f"{name}, scores shifted by {shift:+g}" if shift else name
            found += _check_batch(miner, where, *batch, _ShiftedSimilarity(similarity, shift) if shift else similarity)
    with clause(miner, "it yields tuples"):
        require(found > 0, "it found none in any of the batches")
    if miner.uses_similarity:
        _check_similarity(miner, batches, similarity)


class _Reversed(Similarity):
    """Another similarity with the opposite sign: what was most alike is least alike."""

    def __init__(self, similarity: Similarity) -> None:
        super().__init__()
        self.similarity = similarity

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return -self.similarity.pairwise(x, y)


def _check_similarity(miner: Miner, batches: dict[str, Batch], similarity: Similarity) -> None:
    with clause(miner, "it mines by the similarity that it is given"):
        different = False
        for embeddings, labels in batches.values():
            found = []
            for measure in (similarity, _Reversed(similarity)):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    found.append(sorted(_rows(miner(embeddings, labels, measure)).tolist()))
            different |= found[0] != found[1]
        require(
            different,
            "it chooses the same tuples whatever the similarity says; compare by similarity.pairwise(embeddings, "
            "embeddings), or say uses_similarity = False",
        )


def _rows(tuples: Tuples) -> Tensor:
    """Tuples as rows (P, columns) of integers; a pair is the same either way round."""
    columns = [getattr(tuples, column.name).long() for column in fields(tuples)]
    if type(tuples) is Pairs:
        columns[:2] = torch.minimum(columns[0], columns[1]), torch.maximum(columns[0], columns[1])
    return torch.stack(columns, dim=1)


def _check_batch(miner: Miner, name: str, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> int:
    leaf = embeddings.clone().requires_grad_()
    labels_given = labels.clone()
    with clause(miner, f"it yields what it says ({name})"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tuples = miner(leaf, labels_given, similarity)
        require(type(tuples) is miner.yields, f"got {type(tuples).__name__}, not {miner.yields.__name__}")
    with clause(miner, f"it leaves its inputs alone ({name})"):
        require(torch.equal(leaf, embeddings) and torch.equal(labels_given, labels), "they were changed in place")
    with clause(miner, f"its tuples are of rows that exist ({name})"):
        for column in fields(tuples):
            rows = getattr(tuples, column.name)
            inside = rows.dtype == torch.bool or bool(((rows >= 0) & (rows < len(labels))).all())
            require(inside, f"{column.name} has rows outside 0..{len(labels) - 1}: {rows.tolist()}")
    with clause(miner, f"a positive is another sample of the same class ({name})"):
        require_positives(tuples, labels)
    with clause(miner, f"a negative is of another class ({name})"):
        require_negatives(tuples, labels)
    with clause(miner, f"no tuple stands twice ({name})"):
        rows, count = np.unique(_rows(tuples).cpu().numpy(), axis=0, return_counts=True)
        repeated = [] if miner.may_repeat else rows[count > 1].tolist()
        require(not repeated, f"{len(repeated)} do, the first of rows {repeated[:1]}; the loss would count it twice")
    return len(tuples)


def require_positives(tuples: Tuples, labels: Tensor) -> None:
    """Raise AssertionError unless positives are other samples of the same class."""
    for first, second in _partners(tuples)[0]:
        _require_all(first != second, "is paired with itself", first, second)
        _require_all(labels[first] == labels[second], "is of another class", first, second)


def require_negatives(tuples: Tuples, labels: Tensor) -> None:
    """Raise AssertionError unless negatives are of another class."""
    for first, second in _partners(tuples)[1]:
        _require_all(labels[first] != labels[second], "is of the same class", first, second)


def _partners(tuples: Tuples) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    """The columns that must be positive pairs, and those that must be negative pairs."""
    if isinstance(tuples, Pairs):
        same = tuples.positive
        return [(tuples.first[same], tuples.second[same])], [(tuples.first[~same], tuples.second[~same])]
    positives = [(tuples.anchor, tuples.positive)]
    if isinstance(tuples, Triplets):
        return positives, [(tuples.anchor, tuples.negative)]
    return positives, [(tuples.anchor, tuples.anchor_negative), (tuples.positive, tuples.positive_negative)]


def _require_all(holds: Tensor, otherwise: str, first: Tensor, second: Tensor) -> None:
    if not holds.all():
        at = int((~holds).nonzero()[0])
        require(False, f"row {int(second[at])}, chosen for row {int(first[at])}, {otherwise}")
