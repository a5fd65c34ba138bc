import pytest
import torch

pytest.importorskip("pytorch_metric_learning")

from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning import miners as pml_miners

from metricforge import LOSSES, MINERS, SIMILARITIES, DirectedPairs, Triplets
from metricforge.models import compatibility_faults
from metricforge.testing import check_miner

NAMES = sorted(name.removeprefix("pml.") for name in MINERS.names() if name.startswith("pml."))


def batch(seed=0, classes=4, each=4, dim=6):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat(each)
    return torch.randn(len(labels), dim, generator=generator), labels


@pytest.mark.parametrize("name", [name for name in NAMES if name != "EmbeddingsAlreadyPackagedAsTriplets"])
def test_the_contract_holds(name):
    check_miner(MINERS.build(dict(type=f"pml.{name}")))


@pytest.mark.parametrize("strategies", [("hard", "all"), ("all", "easy"), ("semihard", "hard"), ("all", "all")])
def test_the_contract_holds_for_every_strategy(strategies):
    positive, negative = strategies
    check_miner(MINERS.build(dict(type="pml.BatchEasyHardMiner", pos_strategy=positive, neg_strategy=negative)))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "EmbeddingsAlreadyPackagedAsTriplets"])
def test_the_tuples_are_those_of_the_package_itself(name):
    embeddings, labels = batch()
    torch.manual_seed(0)
    expected = getattr(pml_miners, name)()(embeddings, labels)
    torch.manual_seed(0)
    found = MINERS.build(dict(type=f"pml.{name}"))(embeddings, labels, None)
    if len(expected) == 3:
        assert isinstance(found, Triplets)
        columns = found.anchor, found.positive, found.negative
    else:
        assert isinstance(found, DirectedPairs)
        same = found.positive
        columns = found.first[same], found.second[same], found.first[~same], found.second[~same]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(columns, expected, strict=True))
    assert len(found) > 0


def test_rows_packaged_as_triplets_are_taken_three_by_three_or_refused():
    miner = MINERS.build(dict(type="pml.EmbeddingsAlreadyPackagedAsTriplets"))
    found = miner(torch.randn(6, 2), torch.tensor([0, 0, 1, 5, 5, 0]), None)
    assert (found.anchor.tolist(), found.positive.tolist(), found.negative.tolist()) == ([0, 3], [1, 4], [2, 5])
    for labels in ([0, 0, 1, 5, 0, 5], [0, 0, 0], [0, 0]):
        with pytest.raises(ValueError, match="not packaged"):
            miner(torch.randn(len(labels), 2), torch.tensor(labels), None)


def test_its_miner_and_its_loss_give_together_what_they_give_over_there():
    for seed in range(5):
        embeddings, labels = batch(seed)
        expected = pml_losses.MultiSimilarityLoss()(
            embeddings, labels, pml_miners.MultiSimilarityMiner()(embeddings, labels)
        )
        mined = MINERS.build(dict(type="pml.MultiSimilarityMiner"))(embeddings, labels, None)
        total = LOSSES.build(dict(type="pml.MultiSimilarityLoss"))(embeddings, labels, mined).total
        assert total.item() == pytest.approx(expected.item())


def test_its_triplets_feed_our_triplet_loss():
    embeddings, labels = batch()
    distance = dict(type="pml.LpDistance", normalize_embeddings=False)
    mined = MINERS.build(dict(type="pml.TripletMarginMiner", margin=0.2, distance=distance))(embeddings, labels, None)
    points = embeddings.double()
    hinges = [
        (points[a] - points[p]).norm().item() - (points[a] - points[n]).norm().item() + 0.2
        for a in range(16)
        for p in range(16)
        for n in range(16)
        if a != p and labels[a] == labels[p] != labels[n]
    ]
    violated = [hinge for hinge in hinges if hinge >= 0]
    assert len(mined) == len(violated) < len(hinges)
    total = LOSSES.build(dict(type="TripletLoss", margin=0.2))(embeddings, labels, mined).total
    assert total.item() == pytest.approx(sum(violated) / len(violated), rel=1e-5)


def test_its_pairs_feed_our_contrastive_loss():
    embeddings, labels = batch()
    mined = MINERS.build(dict(type="pml.HDCMiner"))(embeddings, labels, None)
    values = []
    for first, second, positive in zip(
        mined.first.tolist(), mined.second.tolist(), mined.positive.tolist(), strict=True
    ):
        distance = (embeddings[first] - embeddings[second]).norm().item()
        values.append(distance**2 if positive else max(3 - distance, 0) ** 2)
    total = LOSSES.build(dict(type="ContrastiveLoss", margin=3.0))(embeddings, labels, mined).total
    assert total.item() == pytest.approx(sum(values) / len(values), rel=1e-5)


@pytest.mark.parametrize("miner", ["HardPairMiner", "RandomPairMiner", "SemiHardTripletMiner", "HardTripletMiner"])
def test_our_tuples_feed_its_losses(miner):
    embeddings, labels = batch()
    similarity = SIMILARITIES.build(dict(type="EuclideanSimilarity"))
    mined = MINERS.build(dict(type=miner))(embeddings, labels, similarity)
    loss = LOSSES.build(dict(type="pml.ContrastiveLoss", reducer=dict(type="pml.SumReducer")))
    total = loss(embeddings, labels, mined).total
    points = torch.nn.functional.normalize(embeddings.double())

    def distance(first, second):
        return (points[first] - points[second]).norm().item()

    if isinstance(mined, Triplets):
        rows = zip(mined.anchor.tolist(), mined.positive.tolist(), mined.negative.tolist(), strict=True)
        expected = sum(distance(a, p) + max(1 - distance(a, n), 0) for a, p, n in rows)
    else:  # each pair in both directions
        rows = zip(mined.first.tolist(), mined.second.tolist(), mined.positive.tolist(), strict=True)
        expected = 2 * sum(distance(a, b) if positive else max(1 - distance(a, b), 0) for a, b, positive in rows)
    assert total.item() == pytest.approx(expected, rel=1e-5)


def test_who_fits_whom_is_seen_before_training():
    pairs, triplets = MINERS.get("pml.MultiSimilarityMiner"), MINERS.get("pml.BatchHardMiner")
    assert compatibility_faults(pairs, LOSSES.get("ContrastiveLoss")) == []
    assert compatibility_faults(triplets, LOSSES.get("TripletLoss")) == []
    for miner in (pairs, triplets, MINERS.get("HardPairMiner"), MINERS.get("HardTripletMiner")):
        assert compatibility_faults(miner, LOSSES.get("pml.MultiSimilarityLoss")) == []
        assert compatibility_faults(miner, LOSSES.get("pml.ArcFaceLoss")) == []
        (fault,) = compatibility_faults(miner, LOSSES.get("pml.PNPLoss"))
        assert "PNPLoss accepts no tuples at all" in fault
    (fault,) = compatibility_faults(pairs, LOSSES.get("TripletLoss"))
    assert "MultiSimilarityMiner yields DirectedPairs, but TripletLoss accepts Triplets" in fault
    assert "pml.BatchHardMiner" in fault
    (fault,) = compatibility_faults(triplets, LOSSES.get("ContrastiveLoss"))
    assert "pml.HDCMiner" in fault
