"""A model as a program of torch alone: TorchScript, or torch.export's."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metricforge.deployment.graphs.recorded_program import recorded_program, unsupported


def write_torchscript(module: nn.Module, file: Path, inputs: tuple[Tensor, ...]) -> Callable[..., Tensor]:
    """Write ``module``, as it runs on ``inputs``, into ``file``, and give what the file holds.

    Raises:
        MetricForgeError: if it cannot be recorded.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(module, inputs, check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(traced, str(file))
            read: Callable[..., Tensor] = torch.jit.load(str(file))  # type: ignore[no-untyped-call]
            return read
    except Exception as fault:  # whatever a network does that a graph cannot
        raise unsupported(fault, f"the model ({file.name})", "TorchScript") from fault


def write_torch_export(
    module: nn.Module, file: Path, inputs: tuple[Tensor, ...], dynamic: Sequence[dict[int, Any]]
) -> Callable[..., Tensor]:
    """Write ``module`` as torch.export records it into ``file``, and give what the file holds.

    Raises:
        MetricForgeError: if it cannot be recorded.
    """
    what = f"the model ({file.name})"
    program = recorded_program(module, inputs, dynamic, what)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(program.run_decompositions({}), str(file))  # blocks of autocast do not load otherwise
        read: Callable[..., Tensor] = torch.export.load(str(file)).module()
        return read
    except Exception as fault:
        raise unsupported(fault, what, "torch.export") from fault
