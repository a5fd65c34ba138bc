"""Mixed precision on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module(force=True)
class AutocastOptimWrapper(OptimWrapper):
    """Runs the forward pass in bfloat16 where that is safe, on the CPU too.

    mmengine's asserts a GPU and scales for float16; bfloat16 has float32's range and needs no scaling.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[Any]:
        device = next(model.parameters()).device
        with super().optim_context(model), torch.autocast(device.type, dtype=torch.bfloat16):
            yield
