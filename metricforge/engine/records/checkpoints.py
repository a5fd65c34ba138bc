"""Checkpoint files: written atomically, read without running anything, found again after a crash.

A checkpoint holds tensors and plain values alone, so ``torch.load(..., weights_only=True)`` takes it: mmengine's own do
not load that way, and loading them the other way runs whatever code a stranger's file contains.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metricforge.atomic_write import atomic_write
from metricforge.errors import CheckpointError

FORMAT = 1


def to_plain(value: Any) -> Any:
    """``value`` with tensors on the CPU and numpy's scalars and arrays as Python's and torch's, at any depth."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str):
        return str(value)  # torch.__version__ is a str that no safe reading accepts
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_plain(item) for item in value)
    return value


def save_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Writes ``checkpoint`` so that ``path`` is at any moment either the old file or the whole new one."""
    with atomic_write(path) as file:
        torch.save(to_plain(checkpoint), file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU; nothing in the file is executed.

    Raises:
        CheckpointError: if there is no such file, it is truncated, or it holds anything but tensors and plain values.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint{_siblings(path)}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))  # torch's own message goes on to recommend the unsafe way
        if foreign is None:
            raise CheckpointError(f"{path}: truncated or not a checkpoint") from error
        raise CheckpointError(
            f"{path}: refused, because it holds a Python object ({foreign[1]}) and not only tensors and plain values; "
            "reading it could run foreign code. Whoever trusts it may convert it to a plain state dict"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: truncated or not a checkpoint ({_first_line(error)})") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint or "meta" not in checkpoint:
        raise CheckpointError(f"{path}: holds no state_dict and meta, so it is not a checkpoint of MetricForge")
    if checkpoint["meta"].get("format") != FORMAT:
        raise CheckpointError(f"{path}: has format {checkpoint['meta'].get('format')!r}, this version reads {FORMAT}")
    return checkpoint


def checkpoint_files(folder: Path) -> list[Path]:
    """The periodic checkpoints of a run, the one with the most iterations first. (The best one is not among them.)"""
    files = [
        (int(found[1]), path) for path in folder.glob("iter_*.pth") if (found := re.match(r"iter_(\d+)$", path.stem))
    ]
    return [path for _, path in sorted(files, reverse=True)]


def file_hash(path: Path) -> str:
    """The first 16 digits of the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def _siblings(path: Path) -> str:
    found = sorted(p.name for p in path.parent.glob("*.pth")) if path.parent.is_dir() else []
    return f"; its folder has {', '.join(found)}" if found else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
