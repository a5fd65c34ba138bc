"""Refuses, before any batch, reducers that cannot reduce what a loss computes, or would have no effect on it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from pytorch_metric_learning import reducers
from torch import Tensor, nn

from metricforge_pml.constructors import PREFIX

BATCH, DIM = 4, 8  # of the embeddings that are tried, where no argument says more
REGULARIZATION = "_reg_loss"  # sub-losses of such names come reduced by their regularizer's own reducer


class Adapter(Protocol):
    """What is checked: an adapter that can be called."""

    wrapped: nn.Module

    def total(self, embeddings: Tensor, labels: Tensor, indices: None) -> Tensor: ...


def check_reducers(adapter: Adapter, arguments: Mapping[str, Any]) -> None:
    """Compute the loss of a made-up batch where ``arguments`` hold reducers, and see what each has to reduce.

    No class says beforehand whether it gives values of triplets, pairs, samples or the whole batch, and whether with a
    divisor. The random state, and what the loss remembers of batches, stay as they are.

    Raises:
        ValueError: for a reducer that cannot work, or has no effect.
    """
    given = [part for value in arguments.values() if isinstance(value, nn.Module) for part in value.modules()]
    if not any(isinstance(part, reducers.BaseReducer) for part in given):
        return
    for path, part in adapter.wrapped.named_modules():
        if isinstance(part, reducers.MultipleReducers):
            _check_names(part, _owner(adapter.wrapped, path))
        if isinstance(part, reducers.ClassWeightedReducer):
            _check_weights(part, arguments.get("num_classes"))
    tried = copy.deepcopy(adapter)
    kinds: set[str] = set()  # of what the loss itself computes
    faults: list[str] = []
    for path, part in tried.wrapped.named_modules():
        if isinstance(part, reducers.BaseReducer) and not isinstance(part, reducers.MultipleReducers):
            owner = _owner(tried.wrapped, path)
            part.register_forward_pre_hook(_Look(owner, kinds if owner is tried.wrapped else set(), faults))
    rows = torch.arange(max(BATCH, arguments.get("K") or 0))
    labels = rows // 2 % min(2, arguments.get("num_classes") or 2)  # (B,): two of each class
    chosen = arguments.get("reducer")
    try:
        with torch.random.fork_rng(devices=[]):
            tried.total(torch.randn(len(rows), arguments.get("dim") or DIM), labels, None)
    except (RuntimeError, ValueError) as error:
        if faults:
            raise ValueError(faults[0]) from None
        raise ValueError(
            f"reducer: {name_of(adapter.wrapped)} cannot be reduced by {name_of(chosen)} ({error}); leave it "
            "out, or take pml.MeanReducer"
        ) from error
    if kinds == {"already_reduced"} and not isinstance(chosen, (reducers.MeanReducer, type(None))):
        raise ValueError(
            f"reducer: {name_of(adapter.wrapped)} computes one value of the whole batch, on which {name_of(chosen)} "
            "has no effect; leave it out"
        )


def name_of(part: object) -> str:
    """What a config calls a part of pytorch-metric-learning."""
    return PREFIX + type(part).__name__


class _Look:
    """Called before a reducer reduces: notes the ``kinds`` of values that it is given, and ``faults`` of those.

    A fault ends the computation: pytorch-metric-learning's own errors around it would not say which part is wrong.
    """

    def __init__(self, owner: nn.Module, kinds: set[str], faults: list[str]) -> None:
        self.owner = owner
        self.kinds = kinds
        self.faults = faults

    def __call__(self, reducer: nn.Module, inputs: tuple[Any, ...]) -> None:
        for name, values in inputs[0].items():
            kind = values["reduction_type"]
            if name.endswith(REGULARIZATION) or not isinstance(values["losses"], Tensor):
                continue
            self.kinds.add(kind)
            if isinstance(reducer, reducers.PerAnchorReducer) and kind == "triplet":
                self.faults.append(
                    f"reducer: {name_of(reducer)} needs values of pairs or of samples, and {name_of(self.owner)} "
                    "computes them of triplets; take pml.MeanReducer or pml.AvgNonZeroReducer"
                )
            if isinstance(reducer, reducers.DivisorReducer) and kind != "already_reduced" and "divisor" not in values:
                self.faults.append(
                    f"reducer: {name_of(reducer)} divides by what the loss says, as pml.MarginLoss and "
                    f"pml.ProxyAnchorLoss do, and {name_of(self.owner)} says nothing; take pml.MeanReducer or "
                    "pml.SumReducer"
                )
        if self.faults:
            raise ValueError(self.faults[0])


def _owner(loss: nn.Module, path: str) -> nn.Module:
    """Whose values the reducer at ``path`` in ``loss`` is given."""
    parent = loss.get_submodule(path.rpartition(".")[0])
    if isinstance(parent, (nn.ModuleDict, reducers.MultipleReducers)):
        return _owner(loss, path.rpartition(".")[0])
    return parent


def _check_names(multiple: nn.Module, owner: nn.Module) -> None:
    known = owner.sub_loss_names()  # type: ignore[operator]
    unknown = [name for name in multiple.reducers if name not in known]  # type: ignore[union-attr,operator]
    if unknown:
        raise ValueError(
            f"reducers of {name_of(multiple)}: {name_of(owner)} has no value named {', '.join(unknown)}; it has "
            f"{', '.join(known)}"
        )


def _check_weights(reducer: nn.Module, num_classes: int | None) -> None:
    count = len(reducer.weights)  # type: ignore[arg-type]
    if num_classes not in (None, count):
        raise ValueError(
            f"weights of {name_of(reducer)} must be one for each of the {num_classes} classes, got {count}"
        )
