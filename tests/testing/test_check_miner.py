from __future__ import annotations

import pytest
import torch

from metricforge import Miner, Pairs, Quadruplets, Triplets
from metricforge.functional import all_pairs, all_quadruplets, all_triplets, negative_mask, positive_mask
from metricforge.similarities import EuclideanSimilarity
from metricforge.testing import check_miner


class EveryTriplet(Miner):
    """Small and right; the rest break it."""

    yields = Triplets
    uses_similarity = False

    def forward(self, embeddings, labels, similarity):
        return all_triplets(labels)


class EveryPair(EveryTriplet):
    yields = Pairs

    def forward(self, embeddings, labels, similarity):
        return all_pairs(labels)


class EveryQuadruplet(EveryTriplet):
    yields = Quadruplets

    def forward(self, embeddings, labels, similarity):
        return all_quadruplets(labels)


@pytest.mark.parametrize("miner", [EveryTriplet, EveryPair, EveryQuadruplet])
def test_a_miner_that_keeps_the_contract_passes(miner):
    check_miner(miner())


class YieldsAnother(EveryTriplet):
    yields = Pairs


class SaysNothing(EveryTriplet):
    yields = None


class PairsWithItself(EveryTriplet):
    def forward(self, embeddings, labels, similarity):
        rows = torch.arange(len(labels))
        return Triplets(rows, rows, rows)


class SwapsPositiveAndNegative(EveryTriplet):
    def forward(self, embeddings, labels, similarity):
        found = all_triplets(labels)
        return Triplets(found.anchor, found.negative, found.positive)


class MasksByMultiplying(EveryTriplet):
    def forward(self, embeddings, labels, similarity):
        scores = similarity.pairwise(embeddings, embeddings)
        usable = positive_mask(labels).any(dim=1) & negative_mask(labels).any(dim=1)
        positive = scores.masked_fill(~positive_mask(labels), torch.inf).argmin(dim=1)
        negative = (scores * negative_mask(labels)).argmax(dim=1)
        anchor = usable.nonzero()[:, 0]
        return Triplets(anchor, positive[anchor], negative[anchor])


class MasksPositivesByMultiplying(MasksByMultiplying):
    def forward(self, embeddings, labels, similarity):
        scores = similarity.pairwise(embeddings, embeddings)
        usable = positive_mask(labels).any(dim=1) & negative_mask(labels).any(dim=1)
        positive = ((scores - 1e-3) * positive_mask(labels)).argmin(dim=1)  # right while all scores are negative
        negative = scores.masked_fill(~negative_mask(labels), -torch.inf).argmax(dim=1)
        anchor = usable.nonzero()[:, 0]
        return Triplets(anchor, positive[anchor], negative[anchor])


class ForgetsOneClass(EveryTriplet):
    def forward(self, embeddings, labels, similarity):
        assert negative_mask(labels).any(), "no negative"
        return all_triplets(labels)


class CountsFromOne(EveryTriplet):
    def forward(self, embeddings, labels, similarity):
        found = all_triplets(labels)
        return Triplets(found.anchor + 1, found.positive + 1, found.negative + 1)


class FindsNothing(EveryTriplet):
    def forward(self, embeddings, labels, similarity):
        return all_triplets(labels[:0])


class ChangesEmbeddings(EveryTriplet):
    @torch.no_grad()
    def forward(self, embeddings, labels, similarity):
        embeddings.mul_(2)
        return all_triplets(labels)


class MislabelsPairs(EveryPair):
    def forward(self, embeddings, labels, similarity):
        found = all_pairs(labels)
        return Pairs(found.first, found.second, torch.zeros_like(found.positive))


class OnePositiveNegative(EveryQuadruplet):
    def forward(self, embeddings, labels, similarity):
        found = all_quadruplets(labels)
        return Quadruplets(found.anchor, found.positive, found.anchor_negative, found.anchor)


class SpecialPairs(Pairs):
    """Pairs of a plug-in."""


class EverySpecialPair(EveryPair):
    yields = SpecialPairs

    def forward(self, embeddings, labels, similarity):
        found = all_pairs(labels)
        return SpecialPairs(found.first, found.second, found.positive)


def test_a_special_kind_of_pairs_may_be_yielded():
    check_miner(EverySpecialPair())


@pytest.mark.parametrize(
    ("miner", "message"),
    [
        (YieldsAnother, r"it yields what it says \(an ordinary batch\): got Triplets, not Pairs"),
        (SaysNothing, r"yields must be Pairs, Triplets or Quadruplets, got None"),
        (PairsWithItself, r"a positive is another sample .* row 0, chosen for row 0, is paired with itself"),
        (SwapsPositiveAndNegative, r"a positive is another sample .* is of another class"),
        (MasksByMultiplying, r"a negative is of another class \(an ordinary batch\): .* is of the same class"),
        (MasksPositivesByMultiplying, r"a positive is another sample of the same class \(.*scores shifted by \+100\)"),
        (ForgetsOneClass, r"\(a batch of one class\): no negative"),
        (CountsFromOne, r"rows outside 0\.\.11"),
        (FindsNothing, r"it yields tuples: it found none in any of the batches"),
        (ChangesEmbeddings, r"it leaves its inputs alone"),
        (MislabelsPairs, r"a negative is of another class"),
        (OnePositiveNegative, r"a negative is of another class"),
    ],
)
def test_a_broken_miner_is_caught_and_the_clause_and_the_batch_are_named(miner, message):
    with pytest.raises(AssertionError, match=rf"^{miner.__name__}: .*{message}"):
        check_miner(miner())


def test_what_is_not_a_miner_is_caught():
    with pytest.raises(AssertionError, match=r"^Linear: .*not a metricforge\.Miner"):
        check_miner(torch.nn.Linear(2, 2))


class NearestNegatives(EveryTriplet):
    """Each positive pair with the negative that is most alike; the rest break it."""

    uses_similarity = True

    def forward(self, embeddings, labels, similarity):
        scores = similarity.pairwise(embeddings, embeddings).masked_fill(~negative_mask(labels), -torch.inf)
        anchor, positive = positive_mask(labels).nonzero(as_tuple=True)
        keep = negative_mask(labels).any(dim=1)[anchor]
        anchor, positive = anchor[keep], positive[keep]
        return Triplets(anchor, positive, scores.argmax(dim=1)[anchor])


class MinesByAMeasureOfItsOwn(NearestNegatives):
    def forward(self, embeddings, labels, similarity):
        return super().forward(embeddings, labels, EuclideanSimilarity())


class RepeatsItsTriplets(NearestNegatives):
    def forward(self, embeddings, labels, similarity):
        found = super().forward(embeddings, labels, similarity)
        return Triplets(*(torch.cat([rows, rows[:1]]) for rows in (found.anchor, found.positive, found.negative)))


class GivesPairsBothWays(EveryPair):
    def forward(self, embeddings, labels, similarity):
        found = super().forward(embeddings, labels, similarity)
        first, second = torch.cat([found.first, found.second]), torch.cat([found.second, found.first])
        return Pairs(first, second, found.positive.repeat(2))


def test_a_miner_by_similarity_passes():
    check_miner(NearestNegatives())


@pytest.mark.parametrize(
    ("miner", "said"),
    [
        (MinesByAMeasureOfItsOwn, "it mines by the similarity that it is given: it chooses the same tuples"),
        (RepeatsItsTriplets, "no tuple stands twice"),
        (GivesPairsBothWays, "no tuple stands twice"),
    ],
)
def test_a_miner_that_ignores_its_similarity_or_repeats_itself_is_noticed(miner, said):
    with pytest.raises(AssertionError, match=rf"^{miner.__name__}: {said}"):
        check_miner(miner())
