"""Records a module as a program with a batch of any size, and says in plain words what could not be recorded."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metricforge.errors import MetricForgeError


def recorded_program(
    module: nn.Module, inputs: tuple[Tensor, ...], dynamic: Sequence[dict[int, Any]], what: str
) -> Any:
    """``module`` as torch.export records it.

    Args:
        module: in evaluation mode.
        inputs: an example of what it takes; sizes of 0 and 1 would be taken for constants.
        dynamic: for each input, the names of the axes that may have any size.
        what: what an error calls the module.

    Raises:
        MetricForgeError: for an operation that cannot be recorded.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.export.export(module, inputs, dynamic_shapes=tuple(dynamic), strict=False)
    except Exception as fault:  # whatever a network does that a graph cannot
        raise unsupported(fault, what, "torch.export") from fault


def unsupported(fault: BaseException, what: str, format_name: str) -> MetricForgeError:
    """The error of a module that cannot be recorded, which names the operation where it is known."""
    text = _whole_text(fault)
    operation = re.search(r"(?:aten|prims|torchvision|onnx|[a-z_]+)::[A-Za-z0-9_.]+|<?OpOverload\(op='([^']+)'", text)
    named = f"the operation {operation[1] or operation[0]}" if operation else "something"
    reason = next((line.strip() for line in text.splitlines() if line.strip()), type(fault).__name__)
    return MetricForgeError(
        f"{what} has {named} that {format_name} cannot hold ({type(fault).__name__}: {reason[:300]}); nothing was "
        "written. Export another --format: safetensors always works"
    )


def _whole_text(fault: BaseException | None) -> str:
    """What ``fault`` and its causes say, the first cause first."""
    texts = []
    while fault is not None:
        texts.append(str(fault))
        fault = fault.__cause__ or fault.__context__
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(reversed(texts)))
