"""Several processes train what one does: a loss, miner and similarity as a test."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from metricforge.empty_batches import EmptyBatchWarning
from metricforge.engine.distributed.data_parallel_step import SharedStep
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.distributed.sharded_parameters import find_row_shards
from metricforge.engine.loading.seeding import seed_all
from metricforge.heads import EmbeddingHead
from metricforge.interfaces import Backbone
from metricforge.models import MetricLearner
from metricforge.models.weighted_losses import WeightedLosses, is_loss_list
from metricforge.registry import LOSSES, MINERS, SIMILARITIES
from metricforge.testing.clause import require
from metricforge.testing.run_in_processes import run_in_processes

STEPS = 3  # what a loss keeps of earlier batches counts in the later ones
TOLERANCE = dict(rtol=1e-7, atol=1e-9)
Trained = tuple[list[float], dict[str, Tensor]]


def check_in_processes(
    *models: Mapping[str, Any],
    counts: Sequence[int] = (2, 3),
    dim: int = 8,
    num_classes: int = 6,
    imports: Sequence[str] = (),
) -> None:
    """Test that several processes, with a share of each batch, train what one trains with all of it.

    A linear network makes three steps in float64, in training mode (dropout of the similarity, random mining); losses,
    gradients and weights must agree to 1e-7. All models are trained in the same processes, because starting these takes
    the most time.

    Args:
        *models: configs with ``loss``, or a list of losses, and optionally ``miner`` and ``similarity``.
        counts: numbers of processes, each a divisor of 6 * num_classes.
        dim: the embedding size.
        num_classes: labels are 0..num_classes-1, with 6 images each; at most ``dim``.
        imports: modules to import first, which register types that no installed plug-in has.

    Raises:
        AssertionError: naming the model and what differs, with how many processes.

    Examples:
        >>> check_in_processes(dict(loss=dict(type="TripletLoss"), miner=dict(type="RandomTripletMiner")), counts=[2])
    """
    alone = _train_all(models, dim, num_classes, imports)
    faults = []
    for model, (_, weights) in zip(models, alone, strict=True):
        if not any(bool(tensor.any()) for name, tensor in weights.items() if name.startswith("gradient of ")):
            faults.append(f"{_described(model)}: nothing is trained, every gradient is zero")
    for count in counts:
        found = run_in_processes(_train_all, count, list(models), dim, num_classes, imports)
        for rank, results in enumerate(found):
            for model, expected, result in zip(models, alone, results, strict=True):
                fault = _difference(expected, result)
                if fault:
                    faults.append(f"{_described(model)}, process {rank} of {count}: {fault}")
    require(not faults, "\n".join(faults))


def _train_all(
    models: Sequence[Mapping[str, Any]], dim: int, num_classes: int, imports: Sequence[str]
) -> list[Trained]:
    for module in imports:
        import_module(module)
    return [_train(model, dim, num_classes) for model in models]


class _Linear(Backbone):
    """Of the pixels, so that each image is embedded by itself."""

    feature_dim = 6

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 6)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.linear(images))


def _train(model: Mapping[str, Any], dim: int, num_classes: int) -> Trained:
    """The loss of each step; then the last gradients, and weights and buffers."""
    processes = Processes.current()
    seed_all(0)
    learner = _build(model, dim, num_classes).double().train()
    # the learner's own ends in float32, which would hide the last digits
    learner.embed_in_training = lambda images: learner.head(learner.backbone(images))  # type: ignore[method-assign]
    shared = SharedStep(learner, processes, find_row_shards(learner)) if processes.several else None
    # anchor, positive, negative, anchor, ...: as the pickiest of miners wants them, and six of each class
    labels = torch.tensor([(c, c, (c + 1) % num_classes) for c in range(num_classes)]).flatten().repeat(2)  # (B,)
    share = len(labels) // processes.world_size
    own = slice(processes.rank * share, (processes.rank + 1) * share)
    totals = []
    gradients: dict[str, Tensor] = {}
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(len(labels), 12, dtype=torch.float64, generator=generator)
        images[:, :dim] += nn.functional.one_hot(labels, dim)
        learner.zero_grad()
        seed_all(100 + step)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EmptyBatchWarning)
            total = learner(images[own], labels, shared).total
        if total.requires_grad:
            total.backward()  # type: ignore[no-untyped-call]
        if shared is not None:
            shared.finish()
        totals.append(total.item())
        gradients = {n: p.grad.to_dense() for n, p in learner.named_parameters() if p.grad is not None}
        with torch.no_grad():
            for name, parameter in learner.named_parameters():
                if name in gradients:
                    parameter.sub_(0.05 * gradients[name])
    state = {f"gradient of {name}": gradient for name, gradient in gradients.items()}
    return totals, state | {name: value.clone() for name, value in learner.state_dict().items()}


def _build(model: Mapping[str, Any], dim: int, num_classes: int) -> MetricLearner:
    derived: dict[str, Any] = {"dim": dim, "num_classes": num_classes}
    similarity = SIMILARITIES.build(model.get("similarity", dict(type="EuclideanSimilarity")), **derived)
    miner = MINERS.build(model["miner"], **derived) if model.get("miner") else None
    if is_loss_list(model["loss"]):
        loss = WeightedLosses.from_config(model["loss"], path="loss", **derived)
    else:
        loss = LOSSES.build(model["loss"], **derived)
    return MetricLearner(_Linear(), EmbeddingHead(6, dim, bias=True), similarity, loss, miner)


def _difference(expected: Trained, found: Trained) -> str:
    """The first of losses, gradients and weights that differs; empty if none does."""
    for step, (wanted, given) in enumerate(zip(expected[0], found[0], strict=True), start=1):
        if not torch.isclose(torch.tensor(given), torch.tensor(wanted), **TOLERANCE, equal_nan=True):
            return f"the loss of step {step} is {given:.10g}, that of one process {wanted:.10g}"
    if expected[1].keys() != found[1].keys():
        return f"only one of both has {', '.join(sorted(expected[1].keys() ^ found[1].keys()))}"
    for name, tensor in expected[1].items():
        if not torch.allclose(found[1][name].double(), tensor.double(), **TOLERANCE, equal_nan=True):
            apart = float((found[1][name].double() - tensor.double()).abs().max())
            return f"{name} differs by up to {apart:.3g}"
    return ""


def _described(model: Mapping[str, Any]) -> str:
    losses = model["loss"] if is_loss_list(model["loss"]) else [model["loss"]]
    others = [model[kind]["type"] for kind in ("miner", "similarity") if model.get(kind)]
    return " with ".join([" + ".join(loss["type"] for loss in losses), *others])
