"""What this process holds of a tensor that is spread over several."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor


def own_rows(tensor: Tensor) -> Tensor:
    """Return this process's rows of a tensor that torch has spread over the processes; any other one as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
