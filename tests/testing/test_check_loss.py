from __future__ import annotations

import pytest
import torch
from torch import nn

from metricforge import Loss, LossOutput, Pairs, Triplets
from metricforge.functional import (
    all_pairs,
    all_triplets,
    l2_normalize,
    negative_mask,
    pairwise_cosine,
    pairwise_distances,
    positive_mask,
)
from metricforge.testing import check_loss


class MeanOfPositives(Loss):
    """Small and right: the mean distance of positive pairs of batches that have negatives; the rest break it."""

    accepts = (Pairs,)

    def forward(self, embeddings, labels, tuples=None, similarity=None):
        pairs = all_pairs(labels) if tuples is None else tuples
        distances = self.distances(embeddings)[pairs.first, pairs.second]
        usable = positive_mask(labels).any() & negative_mask(labels).any()
        total = distances.where(pairs.positive & usable, 0).sum() / self.count(pairs)
        return LossOutput(total, {"pairs": pairs.positive.sum()})

    def distances(self, embeddings):
        return pairwise_distances(embeddings, embeddings)

    def count(self, pairs):
        return pairs.positive.sum().clamp_min(1)


class Proxies(Loss):
    """Small and right: a loss with proxies, which is not zero where a batch has no pairs."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4, 8))

    def forward(self, embeddings, labels, tuples=None, similarity=None):
        logits = l2_normalize(embeddings) @ self.proxies().T
        return LossOutput(nn.functional.cross_entropy(logits.float(), labels))

    def proxies(self):
        return self.weight


class Random(Proxies):
    """Small and right: a random loss, whose value need not be the same in another order."""

    def forward(self, embeddings, labels, tuples=None, similarity=None):
        total = super().forward(embeddings, labels).total
        return LossOutput(total * torch.rand(()))


class NeedsMiner(MeanOfPositives):
    """Small and right: a loss that takes triplets only, and wants a similarity."""

    accepts = (Triplets,)
    needs_miner = True

    def forward(self, embeddings, labels, tuples=None, similarity=None):
        scores = similarity.pairwise(embeddings, embeddings)
        hinges = (scores[tuples.anchor, tuples.negative] - scores[tuples.anchor, tuples.positive] + 1).relu()
        return LossOutput(hinges.sum() / max(len(tuples), 1))


@pytest.mark.parametrize("loss", [MeanOfPositives(), Proxies(), Random(), NeedsMiner()], ids=lambda x: type(x).__name__)
def test_a_loss_that_keeps_the_contract_passes(loss):
    check_loss(loss)


class InfiniteGradient(MeanOfPositives):
    def distances(self, embeddings):
        squares = (embeddings[:, None] - embeddings[None, :]).square().sum(dim=2)
        return squares.sqrt()


class DividesByZero(MeanOfPositives):
    def count(self, pairs):
        return pairs.positive.sum()


class ReturnsTensor(MeanOfPositives):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        return super().forward(embeddings, labels, tuples).total


class ZeroOutsideTheGraph(MeanOfPositives):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        output = super().forward(embeddings, labels, tuples)
        return output if output.total > 0 else LossOutput(torch.zeros(()))


class PullsOneClass(MeanOfPositives):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        pairs = all_pairs(labels) if tuples is None else tuples
        distances = self.distances(embeddings)[pairs.first, pairs.second]
        return LossOutput(distances.where(pairs.positive, 0).sum() / self.count(pairs))


class ConstantOnly(MeanOfPositives):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        return LossOutput(super().forward(embeddings, labels, tuples).total + 1)


class DependsOnOrder(MeanOfPositives):
    def distances(self, embeddings):
        return super().distances(embeddings) * torch.arange(len(embeddings))


class ChangesLabels(MeanOfPositives):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        output = super().forward(embeddings, labels, tuples)
        labels += 1
        return output


class VectorPart(MeanOfPositives):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        return LossOutput(super().forward(embeddings, labels, tuples).total, {"each": torch.ones(3)})


class NanPart(MeanOfPositives):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        return LossOutput(super().forward(embeddings, labels, tuples).total, {"ratio": torch.tensor(torch.nan)})


class DetachesEmbeddings(Proxies):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        return super().forward(embeddings.detach(), labels)


class DetachesProxies(Proxies):
    def proxies(self):
        return self.weight.detach()


class RefusesHalf(Proxies):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        return LossOutput(nn.functional.cross_entropy(embeddings @ self.weight.T, labels))


class NeedsWhatItRefuses(Proxies):
    needs_miner = True


class AcceptsAnything(MeanOfPositives):
    accepts = (tuple,)


class ForgetsTuplesMayBeEmpty(NeedsMiner):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        assert len(tuples) > 0 or len(all_triplets(labels)) == 0
        return super().forward(embeddings, labels, tuples, similarity)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (InfiniteGradient, r"the gradients are finite \(.*tuples=None\): that of embeddings is not"),
        (DividesByZero, r"the total is finite \(a batch of all different classes, tuples=None\): it is nan"),
        (ReturnsTensor, r"it returns a LossOutput \(an ordinary batch, tuples=None\): .* got Tensor"),
        (ZeroOutsideTheGraph, r"the total can be differentiated \(a batch of .*\): it is not connected"),
        (PullsOneClass, r"zero, with zero gradients \(a batch of one class, tuples=None\): the total is 1\."),
        (ConstantOnly, r"zero, with zero gradients \(a batch of one class, tuples=None\): the total is 1"),
        (DependsOnOrder, r"the order of the batch does not matter \(an ordinary batch, tuples=None\)"),
        (ChangesLabels, r"it leaves its inputs alone \(an ordinary batch, tuples=None\): they were changed in place"),
        (VectorPart, r"part 'each' is not a scalar tensor"),
        (NanPart, r"part 'ratio' is nan"),
        (DetachesEmbeddings, r"the gradient reaches the embeddings \(an ordinary batch, tuples=None\)"),
        (DetachesProxies, r"the gradient reaches every parameter \(.*\): weight got none"),
        (RefusesHalf, r"it returns a LossOutput \(a bfloat16 batch, tuples=None\): raised RuntimeError"),
        (NeedsWhatItRefuses, r"it needs a miner, but accepts no tuples"),
        (AcceptsAnything, r"accepts has .*tuple.*allowed are Pairs, Triplets and Quadruplets"),
        (ForgetsTuplesMayBeEmpty, r"\(no tuples, all Triplets\): "),
    ],
)
def test_a_broken_loss_is_caught_and_the_clause_and_the_batch_are_named(loss, message):
    with pytest.raises(AssertionError, match=rf"^{loss.__name__}: .*{message}"):
        check_loss(loss())


def test_what_is_not_a_loss_is_caught():
    with pytest.raises(AssertionError, match=r"^Linear: .*not a metricforge\.Loss"):
        check_loss(nn.Linear(2, 2))


def test_neither_the_loss_nor_the_random_state_is_touched():
    loss = Random()
    state = torch.get_rng_state()
    check_loss(loss)
    assert torch.equal(torch.get_rng_state(), state)
    assert loss.weight.grad is None


class PullsPositives(Loss):
    """Cosine similarities of the positive pairs less those of the negative ones; right with the sign +1."""

    sign = 1.0

    def forward(self, embeddings, labels, tuples=None, similarity=None):
        scores = pairwise_cosine(embeddings, embeddings)
        positive, negative = positive_mask(labels), negative_mask(labels)
        gap = (scores * negative).sum() / negative.sum().clamp_min(1) - (scores * positive).sum() / (
            positive.sum().clamp_min(1)
        )
        return LossOutput(self.sign * gap * (positive.any() & negative.any()))


class PushesPositives(PullsPositives):
    sign = -1.0


class RightProxies(Loss):
    """Cross entropy over one proxy a class; right with the sign +1."""

    sign = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)))

    def forward(self, embeddings, labels, tuples=None, similarity=None):
        logits = pairwise_cosine(embeddings, self.proxies) * 8
        return LossOutput(self.sign * torch.nn.functional.cross_entropy(logits, labels))


class InvertedProxies(RightProxies):
    sign = -1.0


@pytest.mark.parametrize("right", [PullsPositives, RightProxies])
def test_a_loss_of_the_right_sign_passes(right):
    check_loss(right())


@pytest.mark.parametrize("inverted", [PushesPositives, InvertedProxies])
def test_a_loss_of_inverted_sign_is_noticed(inverted):
    with pytest.raises(AssertionError, match=rf"^{inverted.__name__}: .*has the total the wrong sign"):
        check_loss(inverted())
