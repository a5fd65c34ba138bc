"""A loss against a memory, compared with loops in float64 over what the memory should hold."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from metricforge import LOSSES, DirectedPairs, Pairs, Triplets, build_runner
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import ConfigError
from metricforge.losses import ContrastiveLoss, CrossBatchMemory, MultiSimilarityLoss, TripletLoss
from metricforge.miners import HardTripletMiner
from metricforge.run_records.history import read_history
from metricforge.similarities import EuclideanSimilarity


def batches(count, size=6, dim=4, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield (
            torch.randn(size, dim, generator=generator).requires_grad_(),
            torch.randint(0, classes, (size,), generator=generator),
        )


def contrastive(batch, labels, memory, memory_labels, margin=1.0):
    """By a loop: each row of the batch with every other row of batch and memory."""
    rows = torch.cat([batch, memory])
    classes = [*labels, *memory_labels]
    terms = []
    for i in range(len(batch)):
        for j in range(len(rows)):
            if i != j:
                distance = (rows[i] - rows[j]).square().sum().sqrt()
                terms.append(distance**2 if classes[i] == classes[j] else (margin - distance).clamp_min(0) ** 2)
    return torch.stack(terms).mean()


def test_each_image_is_compared_with_all_of_batch_and_memory_and_the_oldest_go():
    loss = CrossBatchMemory(4, ContrastiveLoss(), size=15)
    held, held_labels = torch.zeros(0, 4, dtype=torch.float64), []
    for embeddings, labels in batches(6):
        output = loss(embeddings, labels)
        output.total.backward()
        exact = embeddings.detach().double().requires_grad_()
        expected = contrastive(exact, labels.tolist(), held, held_labels)
        expected.backward()
        assert float(output.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
        torch.testing.assert_close(embeddings.grad.double(), exact.grad, rtol=1e-4, atol=1e-6)
        assert float(output.parts["filled"]) == len(held)
        held, held_labels = torch.cat([held, exact.detach()])[-15:], [*held_labels, *labels.tolist()][-15:]


def test_a_mean_over_images_is_one_over_those_of_the_batch():
    loss = CrossBatchMemory(4, MultiSimilarityLoss(), size=12)
    (first, first_labels), (second, labels) = batches(2)
    loss(first, first_labels)
    output = loss(second, labels)
    rows = torch.nn.functional.normalize(torch.cat([second, first]).double(), dim=1)
    classes = [*labels.tolist(), *first_labels.tolist()]
    total = 0.0
    for i in range(6):
        cosines = [(float(rows[i] @ rows[j]) - 0.5, classes[i] == classes[j]) for j in range(12) if j != i]
        total += math.log1p(sum(math.exp(-2 * s) for s, same in cosines if same)) / 2
        total += math.log1p(sum(math.exp(50 * s) for s, same in cosines if not same)) / 50
    assert float(output.total) == pytest.approx(total / 6, rel=1e-5)


def test_the_hardest_triplets_come_from_batch_and_memory():
    loss = CrossBatchMemory(4, TripletLoss(margin=0.2), size=12, miner=HardTripletMiner())
    (first, first_labels), (second, labels) = batches(2, seed=3)
    loss(first, first_labels, None, EuclideanSimilarity())
    output = loss(second, labels, None, EuclideanSimilarity())
    rows = torch.cat([second, first]).double()
    classes = [*labels.tolist(), *first_labels.tolist()]
    hinges = []
    for i in range(6):
        away = [float((rows[i] - rows[j]).norm()) for j in range(12)]
        positives = [away[j] for j in range(12) if j != i and classes[j] == classes[i]]
        negatives = [away[j] for j in range(12) if classes[j] != classes[i]]
        if positives and negatives:
            hinges.append(max(0.0, max(positives) - min(negatives) + 0.2))
    assert float(output.total) == pytest.approx(sum(hinges) / len(hinges), rel=1e-5)


class Listed:
    """A miner that yields what it is told."""

    def __init__(self, tuples):
        self.yields, self.tuples = type(tuples), tuples

    def __call__(self, *args):
        return self.tuples


@pytest.mark.parametrize(
    ("mined", "kept"),
    [
        (Pairs(torch.tensor([0, 3, 2, 3]), torch.tensor([1, 0, 3, 2]), torch.ones(4).bool()), [0, 1]),
        (DirectedPairs(torch.tensor([0, 3, 2]), torch.tensor([1, 0, 3]), torch.ones(3).bool()), [0]),
        (Triplets(torch.tensor([1, 2]), torch.tensor([0, 3]), torch.tensor([3, 1])), [0]),
    ],
)
def test_tuples_count_whose_anchor_is_in_the_batch(mined, kept):
    loss = CrossBatchMemory(2, ContrastiveLoss())
    loss.__dict__["miner"] = Listed(mined)
    found = loss._tuples(torch.zeros(4, 2), torch.zeros(4), 2, None)  # two of the batch, two of the memory
    assert type(found) is type(mined)
    for field in dataclasses.fields(mined):
        assert getattr(found, field.name).tolist() == getattr(mined, field.name)[kept].tolist()


def test_the_memory_is_left_out_at_the_start_and_filled_meanwhile():
    loss, plain = CrossBatchMemory(4, ContrastiveLoss(), size=60, start=2), ContrastiveLoss()
    values = [(float(loss(x, y).total), float(plain(x, y).total)) for x, y in batches(3)]
    assert [ours == pytest.approx(alone) for ours, alone in values] == [True, True, False]
    assert int(loss.counts[0]) == 18


def test_evaluation_remembers_nothing():
    loss = CrossBatchMemory(4, ContrastiveLoss()).eval()
    for x, y in batches(2):
        assert set(loss(x, y).parts) == {"positive", "negative"}
    assert int(loss.counts[0]) == 0


def test_drift_is_the_squared_distance_from_the_newest_embedding_of_the_same_image():
    loss = CrossBatchMemory(2, ContrastiveLoss(), size=8)
    steps = [
        ([[0.0, 0.0], [1.0, 0.0]], [7, 8]),
        ([[0.0, 3.0], [5.0, 5.0]], [7, 9]),
        ([[0.0, 5.0], [2.0, 0.0], [9.0, 9.0], [8.0, 8.0]], [7, 8, 4, 5]),
    ]
    found = []
    for rows, ids in steps:
        loss.batch_ids = torch.tensor(ids)
        found.append(loss(torch.tensor(rows, requires_grad=True), torch.tensor(ids)).parts)
    assert "drift" not in found[0]
    assert (float(found[1]["drift"]), float(found[1]["seen_again"])) == (9.0, 0.5)
    assert (float(found[2]["drift"]), float(found[2]["seen_again"])) == ((4.0 + 1.0) / 2, 0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    loss = CrossBatchMemory(4, ContrastiveLoss(), size=20)
    for x, y in batches(2):
        half = x.detach().to(dtype).requires_grad_()
        output = loss(half, y)
    output.total.backward()
    assert output.total.dtype == torch.float32
    assert bool(half.grad.isfinite().all())


def test_one_image_duplicates_and_one_class_are_finite():
    loss = CrossBatchMemory(4, ContrastiveLoss(), size=20)
    for rows, labels in (([[1.0] * 4], [0]), ([[1.0] * 4] * 3, [0, 0, 1]), ([[1.0] * 4] * 2, [0, 0])):
        x = torch.tensor(rows, requires_grad=True)
        output = loss(x, torch.tensor(labels))
        output.total.backward()
        assert bool(output.total.isfinite())
        assert bool(x.grad.isfinite().all())


def test_a_batch_larger_than_the_memory_is_refused():
    loss = CrossBatchMemory(4, ContrastiveLoss(), size=5)
    with pytest.raises(ValueError, match=r"size \(5\) must be at least the batch's 6 images"):
        loss(*next(batches(1)))


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (dict(loss=dict(type="NPairsLoss")), "loss: NPairsLoss takes neither Pairs nor Triplets"),
        (dict(loss=dict(type="TripletLoss")), "miner: TripletLoss against a memory needs one"),
        (
            dict(loss=dict(type="ContrastiveLoss"), miner=dict(type="HardTripletMiner")),
            "miner: HardTripletMiner yields Triplets, but ContrastiveLoss accepts Pairs",
        ),
        (dict(loss=dict(type="ContrastiveLoss"), size=0), "size"),
        (dict(loss=dict(type="ContrastiveLoss"), start=-1), "start"),
    ],
)
def test_what_does_not_fit_is_named(cfg, message):
    with pytest.raises(ConfigError, match=message):
        LOSSES.build(dict(type="CrossBatchMemory", **cfg), dim=4)


@pytest.mark.parametrize(
    "inner",
    [
        dict(loss=dict(type="ContrastiveLoss"), size=20),
        dict(loss=dict(type="MultiSimilarityLoss"), miner=dict(type="MultiSimilarityMiner"), size=30, start=3),
    ],
)
def test_a_resumed_run_goes_on_with_the_memory_bit_for_bit(inner, tiny_config, tmp_path):
    tiny_config["model"] |= dict(
        loss=dict(type="CrossBatchMemory", **inner), miner=None, similarity=dict(type="CosineSimilarity")
    )
    tiny_config |= dict(
        train_cfg=dict(max_epochs=2, log_interval=2), checkpoint=dict(interval_iterations=4, max_keep=9)
    )

    def train(resume=False):
        build_runner(tiny_config, work_dir=tmp_path, device="cpu", resume=resume).train()
        return load_checkpoint(tmp_path / "iter_12.pth")["state_dict"]

    expected = train()
    for late in ("iter_12.pth", "iter_8.pth"):
        (tmp_path / late).unlink()
    found = train(resume=True)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert expected["loss.counts"].tolist() == [48, 12]
    logged = {name for line in read_history(tmp_path) for name in line.get("losses", {})}
    assert {"loss/drift", "loss/seen_again", "loss/filled"} <= logged
