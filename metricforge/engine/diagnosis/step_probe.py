"""How large an update's gradient is, and by how much it moves the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SAMPLED = 4096  # weights of each parameter whose movement is measured


class StepProbe:
    """Measures the updates that it is armed for, between the backward pass and the next gradient.

    Parameters in ``left_out``, of which each process has other rows, and those with a sparse gradient have no part in
    the movement.

    Args:
        model: whose weights ``optimizer`` steps.
        optimizer: torch's.
        left_out: names of parameters that are not looked at.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, left_out: frozenset[str]) -> None:
        self._parameters = [p for name, p in model.named_parameters() if p.requires_grad and name not in left_out]
        self.armed = False
        self._before: list[tuple[nn.Parameter, Tensor]] = []
        self._read: dict[str, Tensor] = {}
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def take(self) -> dict[str, Tensor]:
        """What was measured since the last call, each () on its device.

        ``gradient_norm`` is that of all weights together; ``weight_change`` the length of an update over that of the
        weights.
        """
        read, self._read = self._read, {}
        return read

    def close(self) -> None:
        """Take the hooks off the optimizer."""
        for hook in self._hooks:
            hook.remove()

    @torch.no_grad()
    def _before_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not self.armed:
            return
        with_gradient = [p for p in self._parameters if p.grad is not None]
        gradients = [p.grad for p in with_gradient if p.grad is not None]
        dense = [gradient for gradient in gradients if not gradient.is_sparse]
        values = [gradient.coalesce().values() for gradient in gradients if gradient.is_sparse]
        if gradients:
            self._read["gradient_norm"] = torch.nn.utils.get_total_norm([*dense, *values])
        self._before = [(p, _sample(p).clone()) for p in with_gradient if p.grad is not None and not p.grad.is_sparse]

    @torch.no_grad()
    def _after_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not self._before:
            return
        now = [_sample(parameter) for parameter, _ in self._before]
        before = [values for _, values in self._before]
        # a sample stands for all weights of its parameter
        weights = [(p.numel() / max(values.numel(), 1)) ** 0.5 for p, values in self._before]
        moved = torch._foreach_mul(torch._foreach_sub(now, before), weights)
        length = torch.nn.utils.get_total_norm(torch._foreach_mul(before, weights))
        self._read["weight_change"] = torch.nn.utils.get_total_norm(moved) / length.clamp_min(1e-30)
        self._before, self.armed = [], False


def _sample(parameter: Tensor) -> Tensor:
    """At most about ``SAMPLED`` evenly spaced weights (n,) of ``parameter``."""
    flat = parameter.detach().reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLED)].float()
