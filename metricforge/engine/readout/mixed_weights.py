"""Weights between those of a run and the pretrained ones, and means of those of several checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def weighted_mean(states: Sequence[State], shares: Sequence[float]) -> dict[str, Tensor]:
    """Return the mean of ``states`` by ``shares``, which add up to 1: parameters and BatchNorm's statistics alike.

    BatchNorm's running means and variances are averaged as the weights are and not estimated again: that would need
    another pass over the training images in training mode, and a candidate that its statistics do not fit loses on the
    validation classes. Whole numbers, such as counts of batches, are those of the first state.
    """
    mixed = {}
    for name, first in states[0].items():
        if not first.is_floating_point():
            mixed[name] = first
            continue
        # in float64, so that the order does not show and equal weights stay as they are
        total = sum(share * state[name].double() for share, state in zip(shares, states, strict=True))
        mixed[name] = torch.as_tensor(total).to(first.dtype)
    return mixed


def interpolate(trained: State, pretrained: State, share: float) -> dict[str, Tensor]:
    """Return weights between ``pretrained`` (``share`` 0) and ``trained`` (1): WiSE-FT, Wortsman et al. 2022."""
    return weighted_mean([trained, pretrained], [share, 1 - share])


def name_of_share(share: float) -> str:
    """Return what weights of which a ``share`` is trained are called, such as "3/4 fine-tuned"."""
    simple = Fraction(share).limit_denominator(16)
    shown = str(simple) if float(simple) == share else f"{100 * share:g} %"
    return f"{shown} fine-tuned"


def are_equal(one: State, other: State) -> bool:
    """Whether two state dicts hold the same numbers; counts of batches are no matter."""
    return all(torch.equal(value, other[name]) for name, value in one.items() if value.is_floating_point())
