"""Buffers that each thread reuses, which is quicker than allocating memory anew."""

from __future__ import annotations

import threading

import torch
from torch import Tensor


class ThreadLocalBuffers(threading.local):
    """Buffers by name, each thread with its own."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def buffer(
        self, name: str, rows: int, columns: int, dtype: torch.dtype, device: torch.device | None = None
    ) -> Tensor:
        """The buffer ``name`` (rows, columns), holding whatever was left in it; on the CPU unless ``device`` is given.

        What an earlier call gave for this name is no longer valid.
        """
        memory = self._buffers.get(name)
        if memory is None or memory.dtype != dtype or memory.numel() < rows * columns:
            memory = self._buffers[name] = torch.empty(rows * columns, dtype=dtype, device=device)
        return memory[: rows * columns].view(rows, columns)
