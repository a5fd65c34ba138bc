from __future__ import annotations

import pytest
import torch
from torch import nn

from metricforge import Similarity
from metricforge.functional import in_float32, l2_normalize, pairwise_cosine, pairwise_distances
from metricforge.testing import check_similarity


class Negated(Similarity):
    """Small and right; the rest break it."""

    search = "l2"

    def pairwise(self, x, y):
        return -pairwise_distances(x, y)


class Learned(Similarity):
    """Small and right: a learned similarity that can only be searched by itself."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(8))
        self.dropout = nn.Dropout(0.5)

    def pairwise(self, x, y):
        return -pairwise_distances(self.dropout(in_float32(x) @ self.weight), in_float32(y) @ self.weight)


class Bits(Similarity):
    """Small and right: signs compared, with the gradient of tanh."""

    search = "hamming"

    def pairwise(self, x, y):
        return self.soft_signs(x) @ self.soft_signs(y).T

    def soft_signs(self, x):
        soft = in_float32(x).tanh()
        return soft + (soft.detach().sign() - soft.detach())


@pytest.mark.parametrize("similarity", [Negated, Learned, Bits])
def test_a_similarity_that_keeps_the_contract_passes(similarity):
    check_similarity(similarity())


class Distance(Negated):
    search = None

    def pairwise(self, x, y):
        return pairwise_distances(x, y)


class InfiniteGradient(Negated):
    def pairwise(self, x, y):
        return -(in_float32(x)[:, None] - in_float32(y)[None]).square().sum(dim=2).sqrt()


class NormalisesOverTheBatch(Negated):
    def pairwise(self, x, y):
        scores = super().pairwise(x, y)
        return scores / scores.detach().abs().max().clamp_min(1e-3)


class Asymmetric(Negated):
    search = None

    def pairwise(self, x, y):
        return super().pairwise(x, y) - 0.1 * in_float32(x)[:, :1]


class Transposed(Negated):
    def pairwise(self, x, y):
        return super().pairwise(y, x)


class RanksOtherwiseThanItsSearch(Negated):
    def pairwise(self, x, y):
        return pairwise_cosine(x, y)


class ForgetsToPrepare(Similarity):
    search = "ip"

    def pairwise(self, x, y):
        return pairwise_cosine(x, y)


class UnknownSearch(Negated):
    search = "cosine"


class OneSidedGradient(Negated):
    def pairwise(self, x, y):
        return super().pairwise(x, y.detach())


class UnusedParameter(Learned):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(8))


class AlwaysDrops(Learned):
    def pairwise(self, x, y):
        return nn.functional.dropout(l2_normalize(x) @ self.weight, 0.5) @ l2_normalize(y).T


class NotANumber(Negated):
    def pairwise(self, x, y):
        return super().pairwise(x, y) / (in_float32(x)[:, None] != in_float32(y)[None]).any(dim=2).float()


class AsymmetricAgainstItsWord(Asymmetric):
    symmetric = True


class ListsOfTheFirst(Negated):
    def score_lists(self, x, lists):
        return self.pairwise(x, lists[0])


class ListsOfAnotherShape(Negated):
    def score_lists(self, x, lists):
        return super().score_lists(x, lists).T


@pytest.mark.parametrize(
    ("similarity", "message"),
    [
        (ListsOfTheFirst, r"score_lists scores as pairwise does: they differ by up to"),
        (ListsOfAnotherShape, r"score_lists scores as pairwise does: shape \(4, 5\), not \(5, 4\)"),
        (Distance, r"larger means more alike"),
        (InfiniteGradient, r"gradients are finite .*\(a batch against itself, with duplicates, training mode\)"),
        (NormalisesOverTheBatch, r"a score depends on its two embeddings alone"),
        (Asymmetric, r"the similarity is symmetric: S\(x, y\) - S\(y, x\) is up to"),
        (Transposed, r"shape \(7, 5\), not \(5, 7\)"),
        (RanksOtherwiseThanItsSearch, r'search="l2" after prepare ranks as pairwise does: \d+ of \d+ pairs'),
        (ForgetsToPrepare, r'search="ip" after prepare ranks as pairwise does'),
        (UnknownSearch, r"search must be .*, got 'cosine'"),
        (OneSidedGradient, r"\(two batches, training mode\): y got none"),
        (UnusedParameter, r"bias got none"),
        (AlwaysDrops, r"a score depends on its two embeddings alone"),
        (NotANumber, r"(that of x is not finite|some are not finite)"),
    ],
)
def test_a_broken_similarity_is_caught_and_the_clause_is_named(similarity, message):
    with pytest.raises(AssertionError, match=rf"^{similarity.__name__}: .*{message}"):
        check_similarity(similarity())


def test_a_similarity_may_be_declared_asymmetric():
    check_similarity(Asymmetric(), symmetric=False)


def test_what_declares_itself_symmetric_must_be():
    with pytest.raises(AssertionError, match="the similarity is symmetric"):
        check_similarity(AsymmetricAgainstItsWord(), symmetric=False)


def test_what_is_not_a_similarity_is_caught():
    with pytest.raises(AssertionError, match=r"^Linear: .*not a metricforge\.Similarity"):
        check_similarity(nn.Linear(2, 2))
