"""Optimizer steps of sparse rows: their cost is that of the rows with a gradient, not of the whole parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer, Rprop


def step_touched_rows(optimizer: Optimizer) -> Optimizer:
    """Let ``optimizer`` step parameters that have a sparse gradient, such as ``embedding(..., sparse=True)`` gives.

    torch's optimizers refuse sparse gradients, or forbid weight decay with them. With this, a step of a parameter
    (C, ...) whose gradient names R rows is the optimizer's own dense step of those R rows, in time and memory for R:

    - A row is stepped when it is in the gradient, with the learning rate, weight decay and momentum of its parameter
      group at that moment. In all other steps it stays as it is, and so does its state: no weight decay, and momentum
      that neither moves it nor fades.
    - Each row has its own state, zero until its first step. Scalars such as Adam's ``step`` are counted once for the
      whole parameter, as in ``torch.optim.SparseAdam``.
    - ``optimizer.state_dict()`` has the form of dense training: a momentum (C, ...) for a parameter (C, ...).

    With every row in every gradient that is dense training. Parameters with dense gradients are stepped as usual.
    Meant for optimizers that treat each weight by itself; one whose state starts elsewhere than at zero (Rprop) or
    which calls the model again (LBFGS, any ``step(closure)``) is refused when it meets a sparse gradient.

    Returns:
        The same optimizer.

    Examples:
        >>> table = torch.nn.Parameter(torch.ones(1000, 4))
        >>> optimizer = step_touched_rows(torch.optim.SGD([table], lr=0.1, weight_decay=0.5))
        >>> rows = torch.nn.functional.embedding(torch.tensor([3, 7]), table, sparse=True)
        >>> rows.sum().backward()
        >>> optimizer.step()
        >>> (table != 1).any(dim=1).nonzero().squeeze(1)
        tensor([3, 7])
    """
    sparse_rows = _SparseRows()
    optimizer.register_step_pre_hook(sparse_rows.take_out)
    optimizer.register_step_post_hook(sparse_rows.put_back)
    return optimizer


@dataclass
class _TakenOut:
    """During one step, ``rows`` (R, ...) replace ``parameter`` (C, ...) at ``index`` of ``group``."""

    group: dict[str, Any]
    index: int
    parameter: nn.Parameter
    rows: nn.Parameter
    row_indices: Tensor  # (R,)
    state: dict[str, Any]


class _SparseRows:
    def __init__(self) -> None:
        self._taken_out: list[_TakenOut] = []

    @torch.no_grad()
    def take_out(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        for group in optimizer.param_groups:
            for index, parameter in enumerate(group["params"]):
                if parameter.grad is None or not parameter.grad.is_sparse:
                    continue
                if isinstance(optimizer, (Rprop, LBFGS)) or len(args) > 1 or kwargs.get("closure") is not None:
                    raise ValueError(
                        f"optimizer {type(optimizer).__name__} cannot step rows of a sparse gradient: its state does "
                        "not start at zero, or its step calls the model again; take SGD, Adam or AdamW, without closure"
                    )
                gradient = parameter.grad.coalesce()
                row_indices = gradient.indices()[0]  # (R,)
                rows = nn.Parameter(parameter.index_select(0, row_indices))  # (R, ...)
                rows.grad = gradient.values()  # (R, ...)
                state = optimizer.state.pop(parameter, {})
                optimizer.state[rows] = {
                    key: value.index_select(0, row_indices) if _has_shape(value, parameter) else value
                    for key, value in state.items()
                }
                group["params"][index] = rows
                self._taken_out.append(_TakenOut(group, index, parameter, rows, row_indices, state))

    @torch.no_grad()
    def put_back(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        taken_out, self._taken_out = self._taken_out, []
        for one in taken_out:
            one.parameter.index_copy_(0, one.row_indices, one.rows)
            for key, value in optimizer.state.pop(one.rows, {}).items():
                if not _has_shape(value, one.rows):
                    if isinstance(value, Tensor) and value.numel() != 1:
                        raise ValueError(
                            f"optimizer {type(optimizer).__name__} keeps {key!r} of shape {tuple(value.shape)} for "
                            f"rows of shape {tuple(one.rows.shape)}, which is not one value a weight; sparse gradients "
                            "need an optimizer such as SGD, Adam or AdamW"
                        )
                    one.state[key] = value
                    continue
                if key not in one.state:
                    one.state[key] = torch.zeros_like(one.parameter, dtype=value.dtype)
                one.state[key].index_copy_(0, one.row_indices, value)
            if one.state:
                optimizer.state[one.parameter] = one.state
            one.group["params"][one.index] = one.parameter


def _has_shape(value: object, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape
