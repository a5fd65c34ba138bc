"""BatchNorm that training does not change."""

from __future__ import annotations

from timm.layers import freeze_batch_norm_2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def freeze_batch_norm(model: nn.Module) -> nn.Module:
    """Replace each 2-d BatchNorm of ``model`` by a frozen one: fixed statistics, weight and bias, also in training.

    The names in the state dict stay the same, except that ``num_batches_tracked`` goes.

    Raises:
        ValueError: if a BatchNorm of another kind (1-d, 3-d) remains, which training would change.
    """
    frozen = freeze_batch_norm_2d(model)
    moving = [name for name, module in frozen.named_modules() if isinstance(module, _BatchNorm)]
    if moving:
        raise ValueError(
            f"frozen_batch_norm=True cannot freeze {len(moving)} BatchNorm layers that are not 2-d "
            f"({', '.join(moving[:3])}); set frozen_batch_norm=False, or choose another backbone"
        )
    return frozen
