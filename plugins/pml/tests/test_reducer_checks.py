import copy

import pytest
import torch

pytest.importorskip("pytorch_metric_learning")

import metricforge_pml  # noqa: F401
from pytorch_metric_learning import losses as pml_losses
from pytorch_metric_learning import reducers as pml_reducers

from metricforge import LOSSES
from metricforge.errors import ConfigError

PER_ANCHOR, DIVISOR = dict(type="pml.PerAnchorReducer"), dict(type="pml.DivisorReducer")
NEEDED = {"RankedListLoss": dict(margin=0.4, Tn=1), "ManifoldLoss": dict(K=6)}
NAMES = sorted(
    name.removeprefix("pml.")
    for name in LOSSES.names()
    if name.startswith("pml.") and name not in ("pml.MultipleLosses", "pml.CrossBatchMemory")
)


def build(name, **arguments):
    return LOSSES.build(dict(type=f"pml.{name}", **NEEDED.get(name, {}), **arguments), dim=8, num_classes=3)


@pytest.mark.parametrize("reducer", ["PerAnchorReducer", "DivisorReducer", "ThresholdReducer"])
@pytest.mark.parametrize("name", NAMES)
def test_a_reducer_is_refused_just_where_the_package_fails_or_ignores_it(name, reducer):
    """Tried on the package itself: it computes the loss, and by another threshold another value, unless ignored."""
    arguments = dict(low=100.0) if reducer == "ThresholdReducer" else {}  # nothing is above it
    plain = build(name).wrapped
    theirs = copy.deepcopy(plain)
    theirs.set_reducer(getattr(pml_reducers, reducer)(**arguments))
    embeddings = torch.randn(9, 8, generator=torch.Generator().manual_seed(0))
    labels = None if name in ("ManifoldLoss", "VICRegLoss") else torch.arange(3).repeat_interleave(3)
    others = dict(ref_emb=embeddings.flip(0)) if name == "VICRegLoss" else {}
    torch.manual_seed(0)
    mean = plain(embeddings, labels, **others)
    torch.manual_seed(0)
    try:
        works = theirs(embeddings, labels, **others).isfinite()
    except (KeyError, NotImplementedError, RuntimeError):
        works = False
    if works and reducer == "ThresholdReducer":
        torch.manual_seed(0)
        works = theirs(embeddings, labels, **others).item() != mean.item()
    one_value = name in (
        "DynamicSoftMarginLoss",
        "HistogramLoss",
        "ManifoldLoss",
        "P2SGradLoss",
        "PNPLoss",
        "ThresholdConsistentMarginLoss",
    )
    config = dict(type=f"pml.{reducer}", **arguments)
    if works and not one_value:
        assert build(name, reducer=config).wrapped.reducer is not None
    else:
        with pytest.raises(ConfigError, match=rf"pml\.{reducer}.*(leave it out|take )"):
            build(name, reducer=config)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (dict(reducer=DIVISOR), r"pml\.DivisorReducer divides by .* and pml\.ContrastiveLoss says nothing"),
        (dict(reducer=dict(type="pml.PerAnchorReducer", reducer=DIVISOR)), r"and pml\.PerAnchorReducer says nothing"),
        (
            dict(reducer=dict(type="pml.MultipleReducers", reducers=dict(neg_loss=DIVISOR))),
            r"and pml\.ContrastiveLoss says nothing",
        ),
        (
            dict(reducer=dict(type="pml.MultipleReducers", reducers=dict(negative=dict(type="pml.SumReducer")))),
            r"pml\.ContrastiveLoss has no value named negative; it has pos_loss, neg_loss",
        ),
        (
            dict(embedding_regularizer=dict(type="pml.LpRegularizer", reducer=DIVISOR)),
            r"and pml\.LpRegularizer says nothing",
        ),
    ],
)
def test_nested_reducers_are_named_with_what_they_are_given(arguments, says):
    with pytest.raises(ConfigError, match=says):
        build("ContrastiveLoss", **arguments)


def test_class_weights_of_another_number_of_classes_are_refused():
    with pytest.raises(ConfigError, match=r"pml\.ClassWeightedReducer must be one for each of the 3 classes, got 2"):
        build("ArcFaceLoss", reducer=dict(type="pml.ClassWeightedReducer", weights=[1.0, 2.0]))


def test_what_works_over_there_is_built_and_gives_the_same():
    embeddings = torch.randn(9, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(3).repeat_interleave(3)
    per_anchor = pml_losses.ContrastiveLoss(reducer=pml_reducers.PerAnchorReducer())
    by_divisor = pml_losses.MarginLoss(reducer=pml_reducers.DivisorReducer())
    assert (
        build("ContrastiveLoss", reducer=PER_ANCHOR)(embeddings, labels).total.item()
        == per_anchor(embeddings, labels).item()
    )
    assert (
        build("MarginLoss", reducer=DIVISOR)(embeddings, labels).total.item() == by_divisor(embeddings, labels).item()
    )


def test_the_random_state_and_what_a_loss_remembers_stay_as_they_are():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    loss = build("DynamicSoftMarginLoss", embedding_regularizer=dict(type="pml.LpRegularizer"))
    assert torch.rand(1) == expected
    assert not loss.wrapped.hist_.any()


def test_an_error_at_a_batch_names_the_loss_as_a_config_does():
    distance = dict(type="pml.LpDistance", normalize_embeddings=False)
    with pytest.raises(RuntimeError, match=r"^pml\.HistogramLoss cannot compute this batch: .*out of bounds"):
        build("HistogramLoss", distance=distance)(5 * torch.randn(8, 4), torch.arange(8) // 2)
    with pytest.raises(ConfigError, match=r"pml\.HistogramLoss refuses these arguments \(n_bins\)"):
        build("HistogramLoss", n_bins=0)
