"""BatchNorm that training leaves as it is."""

from __future__ import annotations

from timm.layers import freeze_batch_norm_2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def freeze_batch_norm(model: nn.Module) -> nn.Module:
    """``model`` with each 2-d BatchNorm replaced by a frozen one: fixed statistics, weight and bias, in train mode too.

    The names in the state dict stay as they are, but for ``num_batches_tracked``.

    Raises:
        ValueError: if a BatchNorm of another kind (1-d, 3-d) remains, which would move in training.
    """
    frozen = freeze_batch_norm_2d(model)
    moving = [name for name, module in frozen.named_modules() if isinstance(module, _BatchNorm)]
    if moving:
        raise ValueError(
            f"frozen_batch_norm=True cannot freeze {len(moving)} BatchNorm layers that are not 2-d "
            f"({', '.join(moving[:3])}); set frozen_batch_norm=False, or take another backbone"
        )
    return frozen
