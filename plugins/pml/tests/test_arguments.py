import copy
import inspect
import pickle

import pytest

pytest.importorskip("pytorch_metric_learning")

import metricforge_pml
from metricforge_pml.parts.registries import REDUCERS, REGULARIZERS, WEIGHT_INITS
from pytorch_metric_learning import losses as pml_losses

from metricforge import LOSSES, MINERS, SIMILARITIES
from metricforge.component_arguments import accepted_arguments
from metricforge.errors import ConfigError

NEEDED = {
    "dim": 8,
    "num_classes": 4,
    "margin": 0.4,
    "Tn": 1,
    "weights": [1.0] * 4,
    "centers_per_class": 2,
    "val": 1.0,
    "sparsity": 0.5,
    "loss": dict(type="pml.ContrastiveLoss"),
    "losses": [dict(type="pml.ContrastiveLoss")],
    "reducers": dict(pos_loss=dict(type="pml.MeanReducer")),
}
EVERYTHING = [
    (registry, name)
    for registry in (LOSSES, MINERS, SIMILARITIES, REDUCERS, REGULARIZERS, WEIGHT_INITS)
    for name in registry.names()
    if name.startswith("pml.") or registry is WEIGHT_INITS
]


@pytest.mark.parametrize(("registry", "name"), EVERYTHING, ids=lambda value: getattr(value, "name", value))
def test_every_argument_that_is_accepted_can_be_given(registry, name):
    accepted = accepted_arguments(registry.get(name))
    required = {key: NEEDED[key] for key, value in accepted.items() if value.default is inspect.Parameter.empty}
    if name == "pml.ThresholdReducer":  # it wants at least one of the two
        required = dict(low=0.0, high=1.0)
    registry.build(dict(type=name, **required))
    for key, parameter in accepted.items():
        if key not in required:
            registry.build(dict(type=name, **{**required, key: parameter.default}))


@pytest.mark.parametrize(("registry", "name"), EVERYTHING, ids=lambda value: getattr(value, "name", value))
def test_a_misspelt_argument_is_named(registry, name):
    faults = registry.faults(dict(type=name, marjin=1), "model.part", {"dim": None, "num_classes": None})
    assert any(f"model.part.marjin: {name} has no such argument" in fault for fault in faults)


def test_a_misspelt_argument_is_named_in_python_too():
    with pytest.raises(TypeError, match="marjin"):
        metricforge_pml.losses.TripletMarginLoss(marjin=1)
    with pytest.raises(TypeError, match="dim"):
        metricforge_pml.losses.ArcFaceLoss(num_classes=4)


def test_sizes_are_filled_in_and_compared():
    loss = LOSSES.build(dict(type="pml.ArcFaceLoss", margin=20), dim=8, num_classes=5)
    assert loss.wrapped.W.shape == (8, 5)
    with pytest.raises(ConfigError, match="num_classes: 7 contradicts 5"):
        LOSSES.build(dict(type="pml.ArcFaceLoss", num_classes=7), dim=8, num_classes=5)
    regularizer = dict(type="pml.SparseCentersRegularizer", centers_per_class=10)
    LOSSES.build(dict(type="pml.SoftTripleLoss", weight_regularizer=regularizer), dim=8, num_classes=5)


def test_faults_of_nested_parts_have_the_whole_path():
    cfg = dict(
        type="pml.MultipleLosses",
        losses=[
            dict(type="pml.AngularLoss", reducer=dict(type="pml.MeanReducr")),
            dict(type="pml.TripletMarginLoss", distance=dict(type="pml.LpDistance", pwer=2)),
        ],
    )
    faults = LOSSES.faults(cfg, "model.loss", {})
    assert len(faults) == 2
    assert 'model.loss.losses[0].reducer.type: "pml.MeanReducr" is not a registered reducer' in faults[0]
    assert 'did you mean "pml.MeanReducer"' in faults[0]
    assert "model.loss.losses[1].distance.pwer: pml.LpDistance has no such argument" in faults[1]


def test_what_the_package_refuses_is_a_fault_with_its_path():
    cfg = dict(type="pml.AngularLoss", distance=dict(type="pml.CosineSimilarity"))
    with pytest.raises(ConfigError, match=r"model\.loss: pml\.AngularLoss refuses .*requires the distance metric"):
        LOSSES.build(cfg, path="model.loss")
    memory = dict(type="pml.CrossBatchMemory", loss=dict(type="pml.PNPLoss"))
    with pytest.raises(
        ConfigError, match=r"pml\.PNPLoss cannot compare a batch with a memory; take one of pml\.AngularLoss"
    ):
        LOSSES.build(memory, dim=8)


def test_a_distance_of_ours_inside_its_loss_is_refused():
    cfg = dict(type="pml.ContrastiveLoss", distance=dict(type="CosineSimilarity"))
    with pytest.raises(ConfigError, match=r"distance of pml\.ContrastiveLoss must be a distance of pytorch-metric"):
        LOSSES.build(cfg)


def test_adapters_are_classes_with_a_name_a_module_and_a_signature():
    cls = metricforge_pml.losses.MultiSimilarityLoss
    assert list(inspect.signature(cls).parameters)[:3] == ["alpha", "beta", "base"]
    loss = cls(alpha=3)
    assert isinstance(loss.wrapped, pml_losses.MultiSimilarityLoss)
    assert copy.deepcopy(loss).wrapped.alpha == 3
    assert pickle.loads(pickle.dumps(loss)).wrapped.alpha == 3
