"""Mixed precision on any device."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import Tensor, nn

HalfPrecision = Literal["bf16", "fp16"]
Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@OPTIM_WRAPPERS.register_module(force=True)
class AutocastOptimWrapper(OptimWrapper):
    """Runs the forward pass in half precision where that is safe, on the CPU too; weights stay float32.

    mmengine's asserts a GPU, and scales the loss for bfloat16 too, which has float32's range and needs no scaling. For
    float16 the loss is multiplied by a scale that follows the gradients' range: gradients are divided by it before they
    are clipped or used, and an update whose gradients overflow is left out. Checkpoints hold the scale.

    Args:
        precision: "bf16" or "fp16".
        kwargs: those of mmengine's OptimWrapper.

    Raises:
        ValueError: for another precision.
    """

    def __init__(self, *args: Any, precision: HalfPrecision = "bf16", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if precision not in _DTYPES:
            raise ValueError(f'precision must be "bf16" or "fp16", got {precision!r}')
        self.dtype = _DTYPES[precision]
        device = self.optimizer.param_groups[0]["params"][0].device.type
        self.scaler = torch.amp.GradScaler(device) if precision == "fp16" else None

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[Any]:
        device = next(model.parameters()).device
        with super().optim_context(model), torch.autocast(device.type, dtype=self.dtype):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        super().backward(loss if self.scaler is None else self.scaler.scale(loss), **kwargs)

    def step(self, **kwargs: Any) -> None:
        if self.scaler is None:
            super().step(**kwargs)
            return
        if self.clip_grad_kwargs:
            self.scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = super().state_dict()
        return state if self.scaler is None else state | {"loss_scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: MutableMapping[str, Any]) -> None:
        scale = state_dict.pop("loss_scaler", None)
        if self.scaler is not None and scale is not None:
            self.scaler.load_state_dict(scale)
        super().load_state_dict(state_dict)
