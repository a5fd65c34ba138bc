"""Kernels that give the same bits every time, or the name of what has none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import torch
from torch import nn

from metricforge.errors import ConfigError


@contextmanager
def deterministic_kernels(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Let torch take deterministic kernels alone while it is open, if that is ``wanted``.

    On the CPU most are anyway; on a GPU sums by index, some pooling and resizing, and cuBLAS's own workspace are not.

    Raises:
        ConfigError: where an operation has no such kernel; names the part of ``model`` that asks for it.
    """
    if not wanted:
        yield
        return
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA is first used
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        culprit, said = _culprit(model, error.__traceback__), str(error).split(".")[0]
        raise ConfigError(
            [
                f"deterministic: {culprit} asks for an operation that has no deterministic kernel on this device "
                f"({said}); take another component, or leave deterministic out"
            ]
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.deterministic, cudnn.benchmark = before[1:]


def _culprit(model: nn.Module, trace: TracebackType | None) -> str:
    """The innermost part of ``model`` that was computing; no frame of Python shows what autograd calls."""
    names = {id(module): name for name, module in model.named_modules() if name}
    found = ""
    while trace is not None:
        module = trace.tb_frame.f_locals.get("self")
        if id(module) in names:
            found = f"{names[id(module)]} ({type(module).__name__})"
        trace = trace.tb_next
    return found or "the backward pass of some component"
