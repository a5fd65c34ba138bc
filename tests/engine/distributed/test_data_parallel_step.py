"""Several processes with a share of a batch each, against one with the whole of it, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import embedding

from metricforge import Backbone, Loss, LossOutput, Pairs
from metricforge.engine.distributed.data_parallel_step import SharedStep
from metricforge.engine.distributed.processes import Processes
from metricforge.heads import EmbeddingHead
from metricforge.interfaces import Similarity
from metricforge.losses import ContrastiveLoss, TripletLoss
from metricforge.miners import HardPairMiner, RandomPairMiner, RandomTripletMiner
from metricforge.models import MetricLearner
from metricforge.similarities import CosineSimilarity
from metricforge.testing import run_in_processes

COUNT = 12
LABELS = torch.arange(4).repeat_interleave(3)


class Pixels(Backbone):
    """Linear in the pixels, and dropout only where asked for."""

    feature_dim = 6

    def __init__(self, dropout=0.0):
        super().__init__()
        self.linear = nn.Linear(3 * 4 * 4, 6)
        self.unused = nn.Linear(2, 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images):
        return self.dropout(self.linear(images.flatten(1)).tanh())


class LearnedSimilarity(Similarity):
    """A bilinear form, with dropout on the scores."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 5))
        self.dropout = nn.Dropout(0.3)

    def pairwise(self, x, y):
        return self.dropout(x @ self.weight @ y.T)


class ScoreLoss(Loss):
    """Scores of the pairs, by the similarity that is given."""

    accepts = (Pairs,)
    needs_miner = True

    def forward(self, embeddings, labels, tuples=None, similarity=None):
        scores = similarity.pairwise(embeddings, embeddings)[tuples.first, tuples.second]
        return LossOutput((scores * torch.where(tuples.positive, -1.0, 1.0)).exp().mean())


class ThirdPartyLoss(Loss):
    """Everything at once that is awkward: looks at the order of the batch, draws, owns dense and sparse weights."""

    def __init__(self):
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(7, 5))
        self.table = nn.Parameter(torch.randn(7, 5))
        self.idle = nn.Parameter(torch.randn(3))

    def forward(self, embeddings, labels, tuples=None, similarity=None):
        rows = embedding(labels, self.table, sparse=True)
        noise = torch.rand(len(labels), dtype=embeddings.dtype)
        position = torch.arange(len(labels), dtype=embeddings.dtype)
        total = ((embeddings - self.proxies[labels]).square().sum(1) * noise * position).mean()
        return LossOutput(total + (embeddings * rows).sum(1).logsumexp(0) ** 2)


CASES = {
    "contrastive": lambda: (ContrastiveLoss(), None, CosineSimilarity()),
    "contrastive, hard pairs": lambda: (ContrastiveLoss(), HardPairMiner(), CosineSimilarity()),
    "contrastive, random pairs": lambda: (ContrastiveLoss(), RandomPairMiner(), CosineSimilarity()),
    "triplets": lambda: (TripletLoss(), RandomTripletMiner(), CosineSimilarity()),
    "learned similarity": lambda: (ScoreLoss(), RandomPairMiner(), LearnedSimilarity()),
    "third party": lambda: (ThirdPartyLoss(), None, CosineSimilarity()),
}


def learner(case, dropout=0.0, seed=0):
    torch.manual_seed(seed)
    loss, miner, similarity = CASES[case]()
    return MetricLearner(Pixels(dropout), EmbeddingHead(6, 5, bias=True), similarity, loss, miner).double()


def embed_in_double(model):
    # the model's own ends in float32, which would hide the last digits
    model.embed_in_training = lambda images: model.head(model.backbone(images))


def images():
    return torch.randn(COUNT, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def gradients(case, passes=1, train_backbone=True):
    """Of this process's share of the batch, or of all of it without others: the total, and each gradient."""
    processes = Processes.current()
    model = learner(case, seed=processes.rank)  # SharedStep brings the others' weights to those of process 0
    embed_in_double(model)
    if not train_backbone:
        model.backbone.requires_grad_(False)
    shared = SharedStep(model, processes) if processes.several else None
    share = COUNT // processes.world_size
    mine = images()[processes.rank * share : (processes.rank + 1) * share]
    for number in range(passes):
        torch.manual_seed(5 + number)
        total = model(mine, LABELS, shared).total
        total.backward()
        if shared is not None:
            shared.finish()
    return total.detach(), {n: None if p.grad is None else p.grad.to_dense() for n, p in model.named_parameters()}


@pytest.fixture(scope="module", params=[2, 3])
def results(request):
    return request.param, run_in_processes(all_gradients, request.param)


def all_gradients():
    found = {case: gradients(case) for case in CASES}
    found["accumulated"] = gradients("third party", passes=3)
    found["frozen backbone"] = gradients("learned similarity", train_backbone=False)
    return found


def assert_same(results, expected):
    total, wanted = expected
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in wanted.values())
    for found_total, found in results:
        torch.testing.assert_close(found_total, total, rtol=1e-12, atol=1e-12)
        assert {n for n, g in found.items() if g is None} == {n for n, g in wanted.items() if g is None}
        for name, gradient in wanted.items():
            if gradient is not None:
                torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_every_weight_is_that_of_one_process_with_all_images(results, case):
    assert_same([result[case] for result in results[1]], gradients(case))


def test_gradients_accumulate_over_passes(results):
    assert_same([result["accumulated"] for result in results[1]], gradients("third party", passes=3))


def test_frozen_weights_do_not_disturb(results):
    expected = gradients("learned similarity", train_backbone=False)
    assert_same([result["frozen backbone"] for result in results[1]], expected)


def test_the_processes_hold_the_same_gradients_to_the_last_bit(results):
    for case in CASES:
        first, *others = [result[case][1] for result in results[1]]
        for other in others:
            assert all(torch.equal(other[n], g) for n, g in first.items() if g is not None), case


def dropped():
    processes = Processes.current()
    model = learner("contrastive", dropout=0.5)
    shared = SharedStep(model, processes)
    torch.manual_seed(3)
    ones = torch.full((4, 3, 4, 4), 200, dtype=torch.uint8)
    model = model.float()
    return shared.embed(ones).detach(), torch.rand(3)


def test_each_process_drops_other_features_and_then_draws_what_all_draw():
    (first, after), (second, after_there) = run_in_processes(dropped, 2)
    assert torch.equal(first, second)
    assert not torch.equal(first[:4], first[4:])
    assert torch.equal(after, after_there)


def statistics():
    processes = Processes.current()
    model = learner("contrastive").float()
    model.backbone = nn.BatchNorm2d(3)
    model.head = nn.Flatten()
    # pictures stand for features here, which the model itself would refuse
    model.embed_in_training = lambda images: model.head(model.backbone((images - 127.5) / 127.5))
    shared = SharedStep(model, processes)
    shared.embed(torch.full((4, 3, 2, 2), 100 * processes.rank, dtype=torch.uint8))
    shared.settle()
    settled = model.backbone.running_mean.clone()
    shared.settle()
    assert torch.equal(settled, model.backbone.running_mean), "a second time it has nothing to do"
    return settled


def test_running_statistics_become_the_mean_of_the_processes_own():
    normalised = [(100 * rank / 255 - 0.5) / 0.5 for rank in range(3)]
    for found in run_in_processes(statistics, 3):
        torch.testing.assert_close(found, torch.full((3,), 0.1 * sum(normalised) / 3))


def uneven():
    processes = Processes.current()
    with pytest.raises(ValueError, match="got process 0 4, process 1 3; the sampler must split") as caught:
        processes.gather_columns(torch.zeros(2, 4 - processes.rank, dtype=torch.int64))
    return str(caught.value)


def test_shares_of_different_size_are_refused_on_every_process():
    assert len(set(run_in_processes(uneven, 2))) == 1
