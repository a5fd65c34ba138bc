import warnings

import pytest
import torch

pytest.importorskip("pytorch_metric_learning")

from hypothesis import given, settings
from hypothesis import strategies as st

from metricforge import LOSSES, MINERS, SIMILARITIES
from metricforge.testing import check_any_batch, check_in_processes

DIM, CLASSES = 8, 4
NEEDED = {
    "pml.CrossBatchMemory": dict(loss=dict(type="pml.ContrastiveLoss")),
    "pml.ManifoldLoss": dict(K=4),
    "pml.MultipleLosses": dict(losses=[dict(type="pml.ContrastiveLoss"), dict(type="pml.ArcFaceLoss")]),
    "pml.RankedListLoss": dict(margin=0.4, Tn=1),
}
# What the README says the package itself does not stand.
BREAKS_THE_PROMISE = {
    "pml.AngularLoss": "that of embeddings is not",
    "pml.P2SGradLoss": "it is nan",
    "pml.SignalToNoiseRatioContrastiveLoss": "it is inf",
    "pml.SNRDistance": "scores are finite",
    "pml.VICRegLoss": "it is inf",
}


@st.composite
def batches(draw):
    count = draw(st.integers(0, 12) | st.just(64))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31 - 1)))
    rows = torch.randn(count, DIM, generator=generator, dtype=torch.float64) + draw(st.sampled_from([0.0, 1.0, 300.0]))
    if count:
        for place in draw(st.lists(st.integers(0, count - 1), max_size=4)):
            rows[place] = draw(st.sampled_from([0.0, 1.0])) * rows[0]
    rows = rows * draw(st.sampled_from([1.0, 1e-30, 1e-12, 1e-3, 1e3, 1e12, 1e30]))
    labels = torch.randint(0, draw(st.integers(1, CLASSES)), (count,), generator=generator)
    return rows.to(draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))), labels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("registry", "name"),
    [
        pytest.param(registry, name, id=f"{registry.name}-{name}")
        for registry in (LOSSES, MINERS, SIMILARITIES)
        for name in registry.names()
        if name.startswith("pml.")
    ],
)
def test_every_adapter_stands_any_batch(registry, name):
    component = registry.build(dict(type=name, **NEEDED.get(name, {})), dim=DIM, num_classes=CLASSES)

    @settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @given(batches())
    def stands(batch):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_any_batch(component, *batch, any_order=name != "pml.NPairsLoss")

    if name in BREAKS_THE_PROMISE:
        with pytest.raises(AssertionError, match=BREAKS_THE_PROMISE[name]):
            stands()
    else:
        stands()


def _models():
    adapters = {
        registry: [n for n in registry.names() if n.startswith("pml.")] for registry in (LOSSES, MINERS, SIMILARITIES)
    }
    alone = [dict(loss=dict(type=name, **NEEDED.get(name, {}))) for name in adapters[LOSSES]]
    mined = [dict(loss=dict(type="pml.ContrastiveLoss"), miner=dict(type=name)) for name in adapters[MINERS]]
    triplets = dict(loss=dict(type="TripletLoss"), miner=dict(type="HardTripletMiner"))
    return alone + mined + [triplets | dict(similarity=dict(type=name)) for name in adapters[SIMILARITIES]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_adapter_trains_in_two_and_three_processes_what_one_process_trains():
    check_in_processes(*_models())
