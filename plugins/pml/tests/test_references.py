"""A batch compared with other embeddings: given as references, or remembered from earlier batches."""

import pytest
import torch

pytest.importorskip("pytorch_metric_learning")

import metricforge_pml
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning import miners as pml_miners

from metricforge import LOSSES, MINERS, SIMILARITIES, Miner, Pairs, Quadruplets, Triplets, functional

DIM = 8
EUCLIDEAN = SIMILARITIES.build(dict(type="EuclideanSimilarity"))
WITH_REFERENCES = [*pml_losses.CrossBatchMemory.supported_losses(), "DynamicSoftMarginLoss"]


def batch(rows, seed, classes=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, DIM, generator=generator), torch.arange(rows) % classes


@pytest.mark.parametrize("name", WITH_REFERENCES)
@pytest.mark.parametrize("mined", [False, True])
def test_value_and_gradients_against_references_are_those_of_the_package_itself(name, mined):
    (embeddings, labels), (references, their_labels) = batch(8, 0), batch(10, 1)
    ours, theirs = LOSSES.build(dict(type=f"pml.{name}")), getattr(pml_losses, name)()
    both = [tensor.clone().requires_grad_() for tensor in (embeddings, references)]
    tuples = indices = None
    if mined:
        miner = MINERS.build(dict(type="pml.MultiSimilarityMiner"))
        tuples = miner(embeddings, labels, ref_emb=references, ref_labels=their_labels)
        indices = pml_miners.MultiSimilarityMiner()(embeddings, labels, references, their_labels)
    total = ours(both[0], labels, tuples, ref_emb=both[1], ref_labels=their_labels).total
    again = [tensor.clone().requires_grad_() for tensor in (embeddings, references)]
    expected = theirs(again[0], labels, indices, again[1], their_labels)
    total.backward()
    expected.backward()
    assert total.item() == expected.item()
    for mine, other in zip(both, again, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=0)


def test_two_views_of_the_same_images_are_the_references_of_vic_reg():
    (embeddings, labels), (views, _) = batch(8, 0, classes=8), batch(8, 1)
    total = LOSSES.build(dict(type="pml.VICRegLoss"))(embeddings, labels, ref_emb=views, ref_labels=labels).total
    assert total.item() == pml_losses.VICRegLoss()(embeddings, ref_emb=views).item()


@pytest.mark.parametrize(
    "name", ["AngularMiner", "BatchHardMiner", "HDCMiner", "PairMarginMiner", "TripletMarginMiner"]
)
def test_a_miner_chooses_from_references_what_it_chooses_over_there(name):
    (embeddings, labels), (references, their_labels) = batch(8, 0), batch(10, 1)
    found = MINERS.build(dict(type=f"pml.{name}"))(embeddings, labels, ref_emb=references, ref_labels=their_labels)
    expected = getattr(pml_miners, name)()(embeddings, labels, references, their_labels)
    if isinstance(found, Triplets):
        columns = found.anchor, found.positive, found.negative
    else:
        same = found.positive
        columns = found.first[same], found.second[same], found.first[~same], found.second[~same]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(columns, expected, strict=True))


def test_plain_pairs_with_references_have_their_anchor_first():
    (embeddings, labels), (references, their_labels) = batch(4, 0, classes=2), batch(6, 1, classes=2)
    first, second = torch.tensor([0, 3, 1]), torch.tensor([4, 2, 5])
    pairs = Pairs(first, second, torch.tensor([True, False, True]))
    loss = LOSSES.build(dict(type="pml.ContrastiveLoss"))
    total = loss(embeddings, labels, pairs, ref_emb=references, ref_labels=their_labels).total
    unit, other = (torch.nn.functional.normalize(tensor) for tensor in (embeddings, references))
    positive, negative, other_positive = (unit[first] - other[second]).norm(dim=1)
    expected = (positive + other_positive) / 2 + (1 - negative).clamp_min(0)
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("labels_of_references", [[7, 7, 7], [0, 0, 0]])
def test_references_without_a_negative_or_a_positive_give_zero_as_a_batch_does(labels_of_references):
    embeddings = torch.randn(2, DIM, requires_grad=True)
    total = LOSSES.build(dict(type="pml.NCALoss"))(
        embeddings,
        torch.tensor([0, 0]),
        ref_emb=torch.randn(3, DIM),
        ref_labels=torch.tensor(labels_of_references),
    ).total
    total.backward()
    assert total.item() == 0
    assert not embeddings.grad.any()


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("ContrastiveLoss", dict(ref_emb=torch.randn(3, DIM)), "ref_emb was given without ref_labels"),
        ("ContrastiveLoss", dict(ref_labels=torch.arange(3)), "ref_labels was given without ref_emb"),
        (
            "ContrastiveLoss",
            dict(ref_emb=torch.randn(3, DIM), ref_labels=torch.arange(4)),
            r"ref_emb and ref_labels .* labels must be int64 of shape \(3,\)",
        ),
        ("ContrastiveLoss", dict(ref_emb=torch.randn(3, 5), ref_labels=torch.arange(3)), "the batch's 8 dimensions"),
        (
            "HistogramLoss",
            dict(ref_emb=torch.randn(3, DIM), ref_labels=torch.arange(3)),
            r"ref_emb: pml\.HistogramLoss compares a batch with nothing but itself",
        ),
    ],
)
def test_references_that_do_not_go_with_batch_or_loss_are_named(name, given, says):
    with pytest.raises(ValueError, match=says):
        LOSSES.build(dict(type=f"pml.{name}"))(*batch(8, 0), **given)


def test_rows_that_are_packaged_as_triplets_have_no_references():
    miner = MINERS.build(dict(type="pml.EmbeddingsAlreadyPackagedAsTriplets"))
    labels = torch.tensor([0, 0, 1, 5, 5, 0])
    with pytest.raises(ValueError, match=r"pml\.EmbeddingsAlreadyPackagedAsTriplets takes its tuples from the batch"):
        miner(torch.randn(6, DIM), labels, ref_emb=torch.randn(3, DIM), ref_labels=torch.arange(3))


def memory(loss, miner=None, size=20):
    return LOSSES.build(dict(type="pml.CrossBatchMemory", loss=loss, miner=miner, memory_size=size), dim=DIM)


def test_rows_of_the_mask_are_remembered_and_the_others_compared_as_over_there():
    ours = memory(dict(type="pml.NTXentLoss"))
    theirs = pml_losses.CrossBatchMemory(pml_losses.NTXentLoss(), DIM, memory_size=20)
    mask = torch.tensor([False, True] * 6)
    for seed in range(5):  # the fourth batch fills the memory
        embeddings, labels = batch(12, seed)
        assert (
            ours(embeddings, labels, enqueue_mask=mask).total.item()
            == theirs(embeddings, labels, enqueue_mask=mask).item()
        )
    nothing_compared = ours(embeddings.requires_grad_(), labels, enqueue_mask=torch.ones(12, dtype=torch.bool)).total
    nothing_compared.backward()
    assert nothing_compared.item() == 0


@pytest.mark.parametrize(
    ("mask", "tuples", "says"),
    [
        (torch.ones(12, dtype=torch.bool), functional.all_pairs(torch.arange(12) % 4), "exclude each other"),
        (torch.ones(11, dtype=torch.bool), None, r"enqueue_mask must be bool of shape \(12,\)"),
        (torch.ones(12), None, "got torch.float32"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(mask, tuples, says):
    with pytest.raises(ValueError, match=says):
        memory(dict(type="pml.ContrastiveLoss"))(*batch(12, 0), tuples, enqueue_mask=mask)


@pytest.mark.parametrize("outside", ["pml.HDCMiner", "HardPairMiner", "pml.BatchHardMiner", "HardTripletMiner"])
@pytest.mark.parametrize("inside", ["pml.PairMarginMiner", "pml.TripletMarginMiner"])
def test_tuples_of_the_batch_are_added_where_the_memory_has_its_rows(outside, inside):
    """Over there tuples of the batch are taken for rows of the memory; they are where the queue has put the batch."""
    ours = memory(dict(type="pml.TripletMarginLoss"), dict(type=inside), size=30)
    theirs = pml_losses.CrossBatchMemory(
        pml_losses.TripletMarginLoss(), DIM, memory_size=30, miner=getattr(pml_miners, inside.removeprefix("pml."))()
    )
    for seed in range(4):
        embeddings, labels = batch(12, seed)
        mined = MINERS.build(dict(type=outside))(embeddings, labels, EUCLIDEAN)
        rows = (theirs.queue_idx + torch.arange(12)) % 30
        if isinstance(mined, Triplets):
            indices = mined.anchor, rows[mined.positive], rows[mined.negative]
        else:
            same, first, second = mined.positive, mined.first, mined.second
            if type(mined) is Pairs:  # each in both directions
                same, first, second = same.repeat(2), torch.cat([first, second]), torch.cat([second, first])
            indices = first[same], rows[second[same]], first[~same], rows[second[~same]]
        total = ours(embeddings, labels, mined, EUCLIDEAN).total.item()
        assert total == pytest.approx(theirs(embeddings, labels, indices).item(), rel=1e-6)


def test_our_contrastive_loss_with_a_memory_is_the_mean_over_pairs_of_the_batch_with_the_last_batches():
    loss = memory(dict(type="ContrastiveLoss", margin=4.0), size=30)
    remembered = []
    for seed in range(4):
        embeddings, labels = batch(12, seed)
        embeddings.requires_grad_()
        remembered = (
            remembered + list(zip(embeddings.detach(), labels.tolist(), [seed] * 12, range(12), strict=True))
        )[-30:]
        terms = []
        for row in range(12):
            for other, label, batch_number, its_row in remembered:
                if (batch_number, its_row) == (seed, row):
                    continue
                distance = (embeddings[row] - other).norm()
                terms.append(distance**2 if label == labels[row] else (4 - distance).clamp_min(0) ** 2)
        expected = torch.stack(terms).mean()
        (gradient,) = torch.autograd.grad(expected, embeddings)
        output = loss(embeddings, labels)
        output.total.backward()
        assert output.total.item() == pytest.approx(expected.item(), rel=1e-5)
        torch.testing.assert_close(embeddings.grad, gradient)
        assert set(output.parts) == {"positive", "negative"}


def test_our_triplet_loss_with_our_hardest_triplets_finds_them_in_the_memory():
    loss = memory(dict(type="TripletLoss", margin=5.0), dict(type="HardTripletMiner"), size=30)
    remembered, classes = torch.zeros(0, DIM), torch.zeros(0, dtype=torch.int64)
    for seed in range(4):
        embeddings, labels = batch(12, seed)
        remembered, classes = torch.cat([remembered, embeddings])[-30:], torch.cat([classes, labels])[-30:]
        distances = torch.cdist(embeddings, remembered)
        distances[torch.arange(12), len(classes) - 12 + torch.arange(12)] = torch.nan  # the image itself
        same = labels[:, None] == classes[None]
        hardest = distances.masked_fill(~same | distances.isnan(), -1).max(1).values
        nearest = distances.masked_fill(same | distances.isnan(), torch.inf).min(1).values
        expected = (hardest - nearest + 5).clamp_min(0).mean()
        assert loss(embeddings, labels, None, EUCLIDEAN).total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_our_losses_take_its_miners_and_its_losses_ours():
    ours_with_theirs = memory(dict(type="ContrastiveLoss", margin=1.0), dict(type="pml.PairMarginMiner"))
    theirs_with_ours = memory(dict(type="pml.ContrastiveLoss"), dict(type="RandomPairMiner"))
    for seed in range(2):
        embeddings, labels = batch(12, seed)
        assert ours_with_theirs(embeddings, labels, None, EUCLIDEAN).total.isfinite()
        assert theirs_with_ours(embeddings, labels, None, EUCLIDEAN).total.item() > 0
    with pytest.raises(ValueError, match="miner: RandomPairMiner mines by the model's similarity"):
        theirs_with_ours(embeddings, labels)


def test_our_miner_with_a_mask_chooses_from_the_memory_alone():
    loss = memory(dict(type="TripletLoss", margin=50.0), dict(type="RandomTripletMiner"))
    embeddings, labels = batch(12, 0)
    embeddings.requires_grad_()
    mask = torch.tensor([True] * 8 + [False] * 4)
    loss(embeddings, labels, None, EUCLIDEAN, enqueue_mask=mask).total.backward()
    assert embeddings.grad[8:].any()
    assert not embeddings.grad[:8].any()


def test_a_miner_of_quadruplets_is_refused():
    class QuadrupletMiner(Miner):
        yields = Quadruplets

        def forward(self, embeddings, labels, similarity): ...

    with pytest.raises(ValueError, match="QuadrupletMiner cannot choose pairs or triplets of a batch and a memory"):
        metricforge_pml.losses.CrossBatchMemory(
            loss=LOSSES.build(dict(type="pml.ContrastiveLoss")), miner=QuadrupletMiner(), dim=DIM
        )


def test_losses_and_miners_of_both_packages_add_up():
    loss = LOSSES.build(
        dict(
            type="pml.MultipleLosses",
            losses=dict(
                a=dict(type="TripletLoss"),
                b=dict(type="pml.ContrastiveLoss"),
                c=dict(type="ContrastiveLoss"),
                d=dict(type="ProxyNCALoss"),
            ),
            miners=dict(
                a=dict(type="pml.BatchHardMiner"), b=dict(type="HardPairMiner"), c=dict(type="pml.PairMarginMiner")
            ),
            weights=dict(a=2.0, b=0.5, c=1.0, d=3.0),
        ),
        dim=DIM,
        num_classes=4,
    )
    embeddings, labels = batch(12, 0)
    output = loss(embeddings, labels, None, EUCLIDEAN)
    a = MINERS.build(dict(type="pml.BatchHardMiner"))(embeddings, labels, None)
    b = MINERS.build(dict(type="HardPairMiner"))(embeddings, labels, EUCLIDEAN)
    c = MINERS.build(dict(type="pml.PairMarginMiner"))(embeddings, labels, None)
    expected = {
        "a": LOSSES.build(dict(type="TripletLoss"))(embeddings, labels, a).total,
        "b": LOSSES.build(dict(type="pml.ContrastiveLoss"))(embeddings, labels, b).total,
        "c": LOSSES.build(dict(type="ContrastiveLoss"))(embeddings, labels, c).total,
        "d": loss.losses["d"](embeddings, labels).total,
    }
    assert {name: output.parts[name].item() for name in expected} == {k: v.item() for k, v in expected.items()}
    total = 2 * expected["a"] + 0.5 * expected["b"] + expected["c"] + 3 * expected["d"]
    assert output.total.item() == pytest.approx(total.item(), rel=1e-6)
    assert "a/active" in output.parts
    with pytest.raises(ValueError, match=r"miners\['b'\]: HardPairMiner mines by the model's similarity"):
        loss(embeddings, labels)


def test_the_sum_is_that_of_the_package_itself():
    names, weights = ["ContrastiveLoss", "NTXentLoss", "CircleLoss"], [0.3, 1.0, 2.0]
    loss = LOSSES.build(
        dict(type="pml.MultipleLosses", losses=[dict(type=f"pml.{name}") for name in names], weights=weights)
    )
    theirs = pml_losses.MultipleLosses([getattr(pml_losses, name)() for name in names], weights=weights)
    embeddings, labels = batch(12, 0)
    assert loss(embeddings, labels).total.item() == theirs(embeddings, labels).item()
