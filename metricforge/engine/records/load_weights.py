"""From a checkpoint into a model, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from metricforge.errors import CheckpointError


def load_weights(model: nn.Module, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Put a checkpoint's weights into ``model``, every one of them.

    Raises:
        CheckpointError: if it is of another architecture; names the first tensors that do not fit.
    """
    theirs, ours = checkpoint["state_dict"], model.state_dict()
    faults = [f"{name} is only in the checkpoint" for name in theirs if name not in ours]
    faults += [f"{name} is only in the model" for name in ours if name not in theirs]
    faults += [
        f"{name} is {tuple(theirs[name].shape)} in the checkpoint, {tuple(ours[name].shape)} in the model"
        for name in ours
        if name in theirs and theirs[name].shape != ours[name].shape
    ]
    if faults:
        shown = "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")
        raise CheckpointError(f"{path}: holds another model than the config describes: {shown}")
    try:
        model.load_state_dict(theirs)
    except RuntimeError as fault:  # such as a sparse tensor in the place of a dense one
        raise CheckpointError(
            f"{path}: holds weights that cannot be copied ({str(fault).splitlines()[-1].strip()})"
        ) from fault
