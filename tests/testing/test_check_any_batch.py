from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from metricforge import EVALUATORS, LOSSES, MINERS, SIMILARITIES, Loss, LossOutput, Similarity, load_plugins
from metricforge.testing import check_any_batch

DIM, CLASSES = 8, 4
MAGNITUDES = st.sampled_from([1.0, 1e-30, 1e-12, 1e-3, 1e3, 1e12, 1e30])
FUZZES = settings.default.max_examples > 100
A_FEW = settings(
    max_examples=200 if FUZZES else 15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

RETRIEVAL = [dict(type="RecallAtK", ks=[1]), dict(type="MAPAtR")]
CLUSTERED = dict(clustering=dict(type="AffinityPropagation"), evaluators=[dict(type="NMI")])
NEEDED = {  # what evaluators cannot be built without
    "ReRanked": dict(similarity=dict(type="CosineSimilarity"), evaluators=RETRIEVAL, shortlist=3, agreement=[1]),
    "ScoresByClustering": dict(name="affinity", **CLUSTERED),
    "ScoresBySimilarity": dict(name="cosine", similarity=dict(type="CosineSimilarity"), evaluators=RETRIEVAL),
    "ScoresInSpace": dict(space="pca:2", evaluators=RETRIEVAL),
    "ZeroShot": dict(tree="tree.csv", ks=[1]),
    **{name: dict(ks=[1]) for name in ("RecallAtK", "CMC", "PrecisionAtK", "NearestClassMean", "SingleShotCMC")},
}


def _built(registry):
    """Each registered component, of other distributions too; the adapters of pytorch-metric-learning have their own."""
    load_plugins()
    for name in registry.names():
        if not name.startswith("pml."):
            yield pytest.param(registry.build(dict(type=name), dim=DIM, num_classes=CLASSES), id=name)


def _mined():
    """Each loss with each miner whose tuples it takes."""
    for loss in _built(LOSSES):
        for miner in _built(MINERS):
            if miner.values[0].yields in loss.values[0].accepts:
                yield pytest.param(loss.values[0], miner.values[0], id=f"{loss.id}-{miner.id}")


@st.composite
def batches(draw) -> tuple[torch.Tensor, torch.Tensor]:
    count = draw(st.integers(0, 12) | st.integers(13, 64))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31 - 1)))
    rows = torch.randn(count, DIM, generator=generator, dtype=torch.float64)
    rows = draw(st.sampled_from([0.0, 1.0, 300.0, 1e4])) + rows
    if count:
        for place in draw(st.lists(st.integers(0, count - 1), max_size=4)):
            rows[place] = draw(st.sampled_from([0.0, 1.0])) * rows[0]
    even, odd = draw(MAGNITUDES.map(lambda size: (size, size)) | st.tuples(MAGNITUDES, MAGNITUDES))
    rows[::2] *= even
    rows[1::2] *= odd
    labels = torch.randint(0, draw(st.integers(1, CLASSES)), (count,), generator=generator)
    labels = draw(st.sampled_from([labels, labels, -1 - labels, labels * 10**15, torch.arange(count)]))
    rows = rows.to(draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16])))
    return (rows.T.contiguous().T if draw(st.booleans()) else rows), labels


@pytest.mark.parametrize("component", [*_built(LOSSES), *_built(MINERS), *_built(SIMILARITIES)])
@settings(A_FEW, max_examples=500 if FUZZES else 40)
@given(batch=batches(), autocast=st.booleans())
def test_every_registered_component_stands_any_batch(component, batch, autocast):
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        check_any_batch(component, *batch)


@pytest.mark.parametrize("component", [*_built(LOSSES), *_built(MINERS), *_built(SIMILARITIES)])
def test_the_order_of_rows_at_different_distances_matters_to_no_component(component):
    for count in range(4, 24):  # few of the batches above are without ties
        generator = torch.Generator().manual_seed(count)
        labels = torch.randint(0, CLASSES, (count,), generator=generator)
        check_any_batch(component, torch.randn(count, DIM, generator=generator), labels)


@pytest.mark.parametrize(("loss", "miner"), [*_mined()])
@A_FEW
@given(batch=batches())
def test_every_loss_stands_any_batch_with_the_tuples_of_every_miner_that_it_takes(loss, miner, batch):
    check_any_batch(loss, *batch, miner=miner)


@pytest.mark.parametrize("name", EVALUATORS.names())
@A_FEW
@given(batch=batches())
def test_every_registered_evaluator_stands_any_batch(name, tmp_path, monkeypatch, batch):
    monkeypatch.chdir(tmp_path)
    Path("tree.csv").write_text("child,parent\n0,all\n1,all\n")
    evaluator = EVALUATORS.build(dict(type=name, **NEEDED.get(name, {})))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_any_batch(evaluator, *batch)


class SquareRoot(Loss):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        return LossOutput(embeddings.float().square().sum().sqrt())


class InPlace(Similarity):
    def pairwise(self, x, y):
        with torch.no_grad():
            x.mul_(2)
        return -torch.cdist(x.float(), y.float())


class OwnDice(Similarity):
    def pairwise(self, x, y):
        import random

        return (x @ y.T) * (1 + 1e-9 * random.random())


@pytest.mark.parametrize(
    ("component", "rows", "message"),
    [
        (SquareRoot(), torch.zeros(3, 2), "gradients of a finite total are finite"),
        (InPlace(), torch.ones(3, 2), "leaves its inputs alone"),
        (OwnDice(), torch.ones(3, 2), "generators alone"),
        (OwnDice(), torch.full((3, 2), 1e30), "scores are finite"),
    ],
)
def test_what_breaks_the_promise_is_caught(component, rows, message):
    assert isinstance(component, nn.Module)
    with pytest.raises(AssertionError, match=message):
        check_any_batch(component, rows, torch.tensor([0, 0, 1]))


def test_labels_may_be_the_names_of_the_classes():
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    check_any_batch(LOSSES.build(dict(type="TripletLoss")), rows, ["cat", "dog", "cat", "bird", "dog"])
