"""The gradient of a batch in chunks against that of the batch in one piece, and against one graph of all chunks."""

from __future__ import annotations

import copy
import random
import shutil

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from metricforge import LOSSES, MINERS, Backbone, Loss, LossOutput, Pairs, Similarity, build_runner
from metricforge.engine.distributed.data_parallel_step import SharedStep
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.optim.autocast_optim_wrapper import AutocastOptimWrapper
from metricforge.errors import ConfigError, MetricForgeError
from metricforge.heads import EmbeddingHead
from metricforge.losses import ContrastiveLoss, TripletLoss
from metricforge.miners import HardTripletMiner, RandomPairMiner
from metricforge.models import MetricLearner
from metricforge.models.gradient_cache import GradientCache
from metricforge.similarities import CosineSimilarity
from metricforge.testing import run_in_processes

LABELS = torch.arange(4).repeat_interleave(3)  # (12,)
CHUNK = 5  # the last chunk is smaller


class Network(Backbone):
    """Two layers, with dropout, noise from Python and numpy, and BatchNorm where asked for."""

    feature_dim = 6

    def __init__(self, dropout=0.0, noise=0.0, batch_norm=False):
        super().__init__()
        self.first, self.second = nn.Linear(3 * 4 * 4, 16), nn.Linear(16, 6)
        self.norm = nn.BatchNorm1d(16) if batch_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.noise = noise

    def forward(self, images):
        shift = self.noise * (random.random() + float(np.random.rand())) if self.noise else 0
        return self.dropout(self.second(self.dropout(self.norm(self.first(images.flatten(1))).tanh()))) + shift


class Learned(Similarity):
    """A bilinear form, with dropout on the scores."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 5))
        self.dropout = nn.Dropout(0.3)

    def pairwise(self, x, y):
        return self.dropout(x @ self.weight @ y.T)


class ThirdPartyLoss(Loss):
    """Looks at the order of the batch, draws, scores by the similarity, owns weights."""

    accepts = (Pairs,)

    def __init__(self):
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(4, 5))

    def forward(self, embeddings, labels, tuples=None, similarity=None):
        noise, position = torch.rand(len(labels)), torch.arange(len(labels))
        total = ((embeddings - self.proxies[labels]).square().sum(1) * noise * position).mean()
        return LossOutput(total + similarity.pairwise(embeddings, embeddings).logsumexp((0, 1)))


def images():
    return torch.randint(0, 256, (12, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def learner(loss=None, miner=None, similarity=None, **network):
    torch.manual_seed(0)
    parts = similarity or CosineSimilarity(), loss or ContrastiveLoss(), miner
    return MetricLearner(Network(**network), EmbeddingHead(6, 5, bias=True), *parts).train()


def keep_gradients(kind=OptimWrapper):
    """A wrapper that neither steps nor clears gradients."""

    class Kept(kind):
        def should_update(self):
            return False

    return Kept


def gradients(model, chunk=None, shared=None, share=slice(None), steps=1, wrapper=OptimWrapper, seed=5):
    """The total of the last step, and the gradient of each weight after ``steps`` of them."""
    optimizer = keep_gradients(wrapper)(torch.optim.SGD(model.parameters(), lr=0.1))
    for number in range(steps):
        seed_everything(seed + number)
        batch = {"image": images()[share], "label": LABELS}
        total = model.train_step(batch, optimizer, shared, **({} if chunk is None else {"chunk": chunk}))["loss"]
    return total, {n: None if p.grad is None else p.grad.to_dense() for n, p in model.named_parameters()}


def seed_everything(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def in_one_graph(model, steps=1, context=None):
    """What ``gradients`` gives with chunks: all chunks in one graph, and one backward pass through it."""
    for number in range(steps):
        seed_everything(5 + number)
        rows = []
        for piece in images().split(CHUNK):
            with context or torch.autocast("cpu", enabled=False):
                rows.append(model.embed_in_training(piece))
        output = model._compare(torch.cat(rows), LABELS)
        output.total.backward()
    return output.total.detach(), {n: p.grad for n, p in model.named_parameters()}


def assert_same(found, expected, tolerance=1e-5):
    assert found[0].item() == pytest.approx(expected[0].item(), rel=tolerance)
    largest = max(float(g.abs().max()) for g in expected[1].values() if g is not None)
    assert largest > 0
    for name, gradient in expected[1].items():
        assert (gradient is None) == (found[1][name] is None), name
        if gradient is not None:
            assert float((found[1][name] - gradient).abs().max()) <= tolerance * largest, name


def with_fitting_miners():
    """Every loss and every miner of the core, each at least once."""
    for name in LOSSES.names():
        if not name.startswith("pml."):
            loss = LOSSES.get(name)
            miners = [m for m in MINERS.names() if issubclass(MINERS.get(m).yields, loss.accepts) and "." not in m]
            for miner in [*([] if loss.needs_miner else [None]), *miners]:
                yield name, miner


@pytest.mark.parametrize(("loss", "miner"), [*with_fitting_miners()])
def test_it_is_the_gradient_of_one_piece_for_every_loss_and_miner(loss, miner):
    derived = dict(num_classes=4, dim=5)
    model = learner(
        LOSSES.build(dict(type=loss), **derived), MINERS.build(dict(type=miner), **derived) if miner else None
    )
    assert_same(gradients(copy.deepcopy(model), CHUNK), gradients(model))


def test_it_is_the_gradient_of_one_piece_for_a_third_party_s_loss_and_a_learned_similarity():
    model = learner(ThirdPartyLoss(), RandomPairMiner(), Learned())
    assert_same(gradients(copy.deepcopy(model), CHUNK), gradients(model))


@pytest.mark.parametrize("chunk", [1, 11])
def test_the_size_of_the_chunks_does_not_matter(chunk):
    model = learner(TripletLoss(0.5), HardTripletMiner())
    assert_same(gradients(copy.deepcopy(model), chunk), gradients(model))


@pytest.mark.parametrize("network", [dict(dropout=0.5), dict(noise=3.0), dict(dropout=0.3, noise=1.0)])
def test_what_the_network_draws_is_drawn_again(network):
    model = learner(TripletLoss(0.5), **network)
    assert_same(gradients(copy.deepcopy(model), CHUNK), in_one_graph(model))


def test_batch_norm_normalises_by_the_chunk_and_its_statistics_move_once():
    model = learner(batch_norm=True)
    cached = copy.deepcopy(model)
    assert_same(gradients(cached, CHUNK), in_one_graph(model))
    torch.testing.assert_close(cached.backbone.norm.running_mean, model.backbone.norm.running_mean)
    torch.testing.assert_close(cached.backbone.norm.running_var, model.backbone.norm.running_var)
    assert cached.backbone.norm.num_batches_tracked == 3
    assert cached.backbone.norm.track_running_stats


def test_gradients_accumulate_over_steps():
    model = learner(dropout=0.2)
    assert_same(gradients(copy.deepcopy(model), CHUNK, steps=3), in_one_graph(model, steps=3))


def test_it_works_under_autocast():
    model = learner(dropout=0.2)
    found = gradients(copy.deepcopy(model), CHUNK, wrapper=AutocastOptimWrapper)
    assert_same(found, in_one_graph(model, context=torch.autocast("cpu", torch.bfloat16)), tolerance=0.02)
    with pytest.raises(AssertionError):
        assert_same(found, in_one_graph(learner(dropout=0.2)))  # float32 is not the same


def test_a_frozen_backbone_stays_without_gradient():
    model = learner()
    model.train_backbone = False
    found = gradients(copy.deepcopy(model), CHUNK)
    assert found[1]["backbone.first.weight"] is None
    assert_same(found, gradients(model))


@pytest.mark.slow  # compiles
def test_it_works_with_a_compiled_backbone():
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler (g++)")
    model = learner(dropout=0.3)
    compiled = copy.deepcopy(model)
    compiled.backbone.compile()
    expected = copy.deepcopy(model)
    expected.backbone.compile()
    assert_same(gradients(compiled, CHUNK), in_one_graph(expected))


class Forgetful(Network):
    """Draws from a generator of its own, which nobody can put back."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, images):
        return super().forward(images) + torch.randn(1, 6, generator=self.generator)


def test_a_network_that_does_not_repeat_itself_is_refused():
    model = learner()
    model.backbone = Forgetful()
    with pytest.raises(MetricForgeError, match="draws from a generator of its own; leave chunk out"):
        gradients(model, CHUNK)


def test_the_generators_go_on_from_where_one_pass_leaves_them():
    model = learner(dropout=0.5)
    optimizer = keep_gradients()(torch.optim.SGD(model.parameters(), lr=0.1))
    torch.manual_seed(0)
    model.train_step({"image": images(), "label": LABELS}, optimizer, chunk=CHUNK)
    after = torch.rand(2)
    torch.manual_seed(0)
    for piece in images().split(CHUNK):
        model.embed_in_training(piece)
    assert torch.equal(torch.rand(2), after)


def test_only_a_chunk_is_in_one_graph():
    sizes = []
    model = learner()
    cache = GradientCache(
        model,
        lambda piece: sizes.append(len(piece)) or model.embed_in_training(piece),
        lambda: torch.enable_grad(),
        torch.device("cpu"),
        CHUNK,
    )
    rows = cache.embed(images())
    assert rows.grad_fn is None
    rows.sum().backward()
    cache.backward(images(), rows)
    assert sizes == [5, 5, 2, 5, 5, 2]


# ------------------------------------------------------------------ several processes


def shared_gradients():
    """Of this process's share, in chunks of two, for several losses; with accumulation and with the bare share."""
    processes = Processes.current()
    share = slice(processes.rank * 12 // processes.world_size, (processes.rank + 1) * 12 // processes.world_size)
    found = {}
    for name, make in CASES.items():
        model = make()
        shared = SharedStep(model, processes) if processes.several else None
        found[name] = gradients(model, 2 if processes.several else None, shared, share, steps=2)
    return found


CASES = {
    "triplets": lambda: learner(TripletLoss(0.5), HardTripletMiner()),
    "third party": lambda: learner(ThirdPartyLoss(), None, Learned()),
    "proxies": lambda: learner(LOSSES.build(dict(type="ProxyAnchorLoss"), num_classes=4, dim=5)),
}


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_over_processes_it_is_the_gradient_of_one_process_in_one_piece(count):
    expected = shared_gradients()
    results = run_in_processes(shared_gradients, count)
    for name, wanted in expected.items():
        for result in results:
            assert_same(result[name], wanted)
        first, *others = [result[name][1] for result in results]
        assert all(torch.equal(other[n], g) for other in others for n, g in first.items() if g is not None)


# ------------------------------------------------------------------ configs and runs


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            dict(chunk=2),
            r"train_cfg\.chunk: \d+ BatchNorm layers \(backbone\..*\) .*\s*statistics of 2 images",
        ),
        (dict(chunk=0, batch_norm_per_chunk=True), r"train_cfg\.chunk must be a whole number >= 1, got 0"),
        (dict(chunk=4, batch_norm_per_chunk=True), r"train_cfg\.chunk: 4 is no smaller than the batch of 4"),
        (dict(batch_norm_per_chunk=True), r"train_cfg\.batch_norm_per_chunk: there are no chunks"),
        (dict(chunk="2"), r"train_cfg\.chunk"),
    ],
)
def test_chunks_without_effect_or_with_a_silent_one_are_refused(tiny_config, tmp_path, options, says):
    tiny_config["train_cfg"] |= options
    with pytest.raises(ConfigError, match=says):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu").train()


def test_a_word_about_batch_norm_where_none_is_trained_is_refused(tiny_config, tmp_path):
    tiny_config["model"] |= dict(backbone=dict(type="RawPixels", height=16, width=16))
    tiny_config["train_cfg"] |= dict(chunk=2, batch_norm_per_chunk=True)
    with pytest.raises(ConfigError, match="no BatchNorm of this model is trained"):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu").train()


def test_a_run_in_chunks_equals_one_in_one_piece(tiny_config, tmp_path):
    tiny_config["model"] |= dict(
        backbone=dict(type="RawPixels", height=16, width=16), head=dict(type="EmbeddingHead", dim=8)
    )
    weights = []
    for name, options in (("whole", {}), ("chunks", dict(chunk=3))):
        config = tiny_config | dict(train_cfg=tiny_config["train_cfg"] | options)
        runner = build_runner(config, work_dir=tmp_path / name, device="cpu")
        runner.train()
        weights.append(torch.cat([p.detach().flatten() for p in runner.model.parameters()]))
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-4, atol=1e-6)
