"""Checkpoint files: written atomically, read without running anything, found again after a crash.

A checkpoint holds tensors and plain values only, so that ``torch.load(..., weights_only=True)`` reads it. mmengine's
checkpoints do not load that way, and loading them otherwise runs any code that the file contains. A checksum over the
whole file is verified before anything in it is used.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from metricforge.engine.records.sealed_file import is_as_written, is_sealed, write_sealed
from metricforge.engine.records.shard_files import RowsInShards, find_rows, read_whole
from metricforge.errors import CheckpointError
from metricforge.torch_archives import refuse_compressed

FORMAT = 2
BEST = "best.pth"
DEEPEST = 100  # dicts within each other


def to_plain(value: Any) -> Any:
    """Convert ``value`` at any depth: tensors to the CPU, numpy scalars and arrays to Python and torch."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str):
        return str(value)  # torch.__version__ is a subclass of str that safe loading refuses
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_plain(item) for item in value)
    return value


def save_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write ``checkpoint`` with a checksum, atomically: ``path`` is the old file or the complete new one."""
    write_sealed(to_plain(checkpoint), path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, once its checksum is verified; nothing in the file is executed.

    Raises:
        CheckpointError: if there is no such file, a byte of it is not as it was written, or it holds anything but
            tensors and plain values.
    """
    return load_with_hash(path)[0]


def load_with_hash(path: Path) -> tuple[dict[str, Any], str]:
    """Read a checkpoint as ``load_checkpoint`` does, and the ``file_hash`` of the very bytes that were read."""
    checkpoint, digest = open_checkpoint(path)
    return read_whole(checkpoint), digest


def open_checkpoint(path: Path) -> tuple[dict[str, Any], str]:
    """Read a checkpoint as ``load_with_hash`` does, but leave on the disk what it has in shards, as ``RowsInShards``.

    Raises:
        CheckpointError: as ``load_checkpoint`` does; shards are looked at when they are read.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint{_siblings(path)}")
    try:
        with path.open("rb") as file:
            sealed = is_sealed(file)
            if sealed and not is_as_written(file):
                raise CheckpointError(f"{path}: is damaged or was changed after it was written")
            file.seek(0)
            digest = _hash(file)
            file.seek(0)
            try:
                refuse_compressed(file)
                file.seek(0)
                checkpoint = torch.load(file, map_location="cpu", weights_only=True)
            except Exception as error:  # a damaged file makes torch raise whatever its bytes lead to
                raise CheckpointError(f"{path}: {_unreadable(error)}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "meta"} <= checkpoint.keys():
        raise CheckpointError(f"{path}: holds no state_dict and meta, so it is not a checkpoint of MetricForge")
    _check_nesting(checkpoint, path)
    find_rows(checkpoint, path)
    _check_content(checkpoint, path)
    if not sealed:
        raise CheckpointError(f"{path}: has no checksum; a checkpoint is written by training or by save_checkpoint")
    return checkpoint, digest


def check_state_of_run(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Refuse a checkpoint that lacks what training needs to go on from it.

    Raises:
        CheckpointError: names what is missing or of another kind.
    """
    wanted = {
        "optimizer": dict,
        "param_schedulers": list,
        "meta.iteration": int,
        "meta.epoch": int,
        "meta.batches_per_epoch": int,
        "meta.seed": int,
        "meta.num_classes": int,
        "meta.baselines": dict,
        "meta.settings": dict,
    }
    for name, kind in wanted.items():
        part, _, key = name.rpartition(".")
        holder = checkpoint[part] if part else checkpoint
        if not isinstance(holder.get(key), kind):
            raise CheckpointError(f"{path}: its {name} is {type(holder.get(key)).__name__}, not {kind.__name__}")


def _check_nesting(checkpoint: dict[str, Any], path: Path) -> None:
    """Refuse dicts that hold each other more than once, through which one would go for ever: none is written so."""
    seen, level = set[int](), [checkpoint]
    for _ in range(DEEPEST):
        found = [id(part) for part in level]
        if len(seen.union(found)) < len(seen) + len(found):
            break
        seen.update(found)
        level = [item for part in level for item in part.values() if isinstance(item, dict)]
        if not level:
            return
    raise CheckpointError(f"{path}: its parts hold each other or are nested too deeply, as none of training's do")


def _check_content(checkpoint: Mapping[str, Any], path: Path) -> None:
    meta, weights = checkpoint["meta"], checkpoint["state_dict"]
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else meta
        raise CheckpointError(f"{path}: has format {found!r}, this version reads {FORMAT}")
    if not isinstance(weights, dict) or not all(
        isinstance(value, (Tensor, RowsInShards)) for value in weights.values()
    ):
        raise CheckpointError(f"{path}: its state_dict is not a dict of tensors")


def _unreadable(error: Exception) -> str:
    foreign = re.search(r"GLOBAL (\S+)", str(error))  # torch's own message goes on to recommend the unsafe way
    if isinstance(error, pickle.UnpicklingError) and foreign is not None:
        return (
            f"refused, because it holds a Python object ({foreign[1]}) and not only tensors and plain values; "
            "reading it could run foreign code. If you trust it, convert it to a plain state dict"
        )
    said = _first_line(error).partition("Weights only load failed")[0]
    return f"truncated or not a checkpoint ({type(error).__name__}{': ' if said else ''}{said})"


def file_hash(path: Path) -> str:
    """Return the first 16 digits of the SHA-256 of a file."""
    with path.open("rb") as file:
        return _hash(file)


def _hash(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()[:16]


def _siblings(path: Path) -> str:
    found = sorted(p.name for p in path.parent.glob("*.pth")) if path.parent.is_dir() else []
    return f"; its folder has {', '.join(found)}" if found else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
