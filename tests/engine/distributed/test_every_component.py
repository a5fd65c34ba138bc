"""Every loss, miner and similarity that is registered, now or later, in several processes as in one."""

from __future__ import annotations

import pytest

from metricforge import LOSSES, MINERS, SIMILARITIES, load_plugins
from metricforge.models import compatibility_faults
from metricforge.testing import check_in_processes

RANDOM = dict(type="PDDM", dropout=0.5)  # draws a mask for each pair


def _names(registry):
    """What installed distributions register: not what other tests do, nor pml's, which have a test of their own."""
    load_plugins()
    installed = [name for name in registry.names() if registry.source_of(name).distribution]
    return [name for name in installed if not name.startswith("pml.")]


def _fits(miner, loss):
    return not compatibility_faults(MINERS.get(miner), LOSSES.get(loss))


def models():
    losses, miners = _names(LOSSES), _names(MINERS)
    found = [dict(loss=dict(type=loss)) for loss in losses if not LOSSES.get(loss).needs_miner]
    found += [
        dict(loss=dict(type=loss), miner=dict(type=miner)) for loss in losses for miner in miners if _fits(miner, loss)
    ]
    hinge = dict(loss=dict(type="DoubleHeaderHingeLoss"), miner=dict(type="HardQuadrupletMiner"))
    found += [hinge | dict(similarity=dict(type=similarity)) for similarity in _names(SIMILARITIES)]
    several = [
        dict(type="TripletLoss", weight=0.5, miner=dict(type="RandomTripletMiner")),
        dict(type="NormSoftmaxLoss"),
    ]
    return [*found, dict(loss=several), hinge | dict(similarity=RANDOM), dict(hinge, loss=[hinge["loss"], *several])]


def test_every_registered_component_is_among_those_that_are_compared():
    found = [model for model in models() if isinstance(model["loss"], dict)]
    assert {model["loss"]["type"] for model in found} == set(_names(LOSSES))
    assert {model["miner"]["type"] for model in found if "miner" in model} == set(_names(MINERS))
    assert {model["similarity"]["type"] for model in found if "similarity" in model} == set(_names(SIMILARITIES))


@pytest.mark.slow
def test_every_loss_miner_and_similarity_trains_in_two_and_three_processes_what_one_process_trains():
    check_in_processes(*models())
