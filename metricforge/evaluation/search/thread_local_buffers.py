"""Memory that each thread uses again and again, which is quicker than to ask for it anew."""

from __future__ import annotations

import threading

import torch
from torch import Tensor


class ThreadLocalBuffers(threading.local):
    """Tables by name, of each thread its own."""

    def __init__(self) -> None:
        self._rooms: dict[str, Tensor] = {}

    def table(
        self, name: str, rows: int, columns: int, dtype: torch.dtype, device: torch.device | None = None
    ) -> Tensor:
        """Room (rows, columns) that holds what was left in it; on the CPU unless ``device`` says otherwise."""
        room = self._rooms.get(name)
        if room is None or room.dtype != dtype or room.numel() < rows * columns:
            room = self._rooms[name] = torch.empty(rows * columns, dtype=dtype, device=device)
        return room[: rows * columns].view(rows, columns)
